"""How the report speaks of a metric. One that it has no words for is shown all the same, under its own name."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class MetricText:
    """How the page speaks of a metric; `has_best` is False where neither end of its scale is better."""

    key: str
    name: str
    meaning: str
    chance: float | None = None
    lower_is_better: bool = False
    topic: str = ""
    has_best: bool = True


METRIC_TEXTS = (
    MetricText(
        "pathology_auroc",
        "Findings",
        "Does the picture show the findings that the next report names? A classifier looks at each picture; the number"
        " is how often it ranks one with the finding above one without (AUROC, mean of five findings). 0.5 is chance,"
        " 1 is perfect. Where findings persist a mere copy of the prior does well too: compare with it.",
        chance=0.5,
    ),
    MetricText(
        "changed_auroc",
        "Changed findings",
        "The same, only on findings that appeared or resolved between the two examinations. A copy of the prior is"
        " wrong here by construction, so this is where following the description shows.",
        chance=0.5,
    ),
    MetricText(
        "race_auroc",
        "Group retained",
        "Is it still the same kind of person? A classifier tells demographic groups apart (AUROC, one group against"
        " the rest, mean). On rendered patients a group is an invented appearance that stands in for race.",
        chance=0.5,
    ),
    MetricText(
        "age_r",
        "Age retained",
        "A network estimates the age from the picture; the number is its correlation with the patient's age"
        " (Pearson's r). 0 means that age is lost, 1 that it is fully kept.",
        chance=0.0,
    ),
    MetricText(
        "cmig",
        "CMIG",
        "Accuracy and retention in one number: the geometric mean of the findings' AUROC on one side and, on the"
        " other, the geometric mean of group AUROC and age r. A system must do both to score high.",
    ),
    MetricText(
        "cmig_with_dice",
        "CMIG with anatomy",
        "CMIG with the anatomy overlap as a third measure of retention. An extension, not the paper's definition.",
    ),
    MetricText(
        "dice_reference",
        "Anatomy vs next",
        "Overlap of six structures (lungs, heart, diaphragm, mediastinum, spine) with those of the patient's real next"
        " image (Dice, 1 is identical).",
    ),
    MetricText(
        "dice_prior",
        "Anatomy vs prior",
        "The same overlap with the prior image. The prior itself has 1; a real next image has less, since patients"
        " breathe and turn.",
    ),
    MetricText(
        "kl",
        "KL divergence",
        "How far the classifier's view of the picture is from its view of the real next image: sum of p log(p/q) over"
        " five findings, each image's probabilities divided by their sum. 0 is best.",
        lower_is_better=True,
    ),
)

ASKED = "Does it do what it is told?"
KEPT = "Does it leave the rest alone?"
TRUE = "Against the true counterfactual"
REAL = "Does it look like the real thing?"
COPIED = "Does it copy its training?"
OTHER = "Further"
TOPICS = (ASKED, KEPT, TRUE, REAL, COPIED, OTHER)

FURTHER_TEXTS = (
    MetricText(
        "effectiveness",
        "Shows what was asked",
        "Of the findings that are to appear or to go: the share that the judge then sees, or no longer sees.",
        topic=ASKED,
    ),
    MetricText(
        "side_correct",
        "Right side",
        "Where a new finding is asked for on one side: how often it shows on that side alone.",
        topic=ASKED,
    ),
    MetricText(
        "severity_concordance",
        "Order of severity, by the judge",
        "Of two journeys that were asked for different severities of a finding: how often the judge is"
        " surer of the more severe. It was trained to see presence, so read this beside the real"
        " reference.",
        chance=0.5,
        topic=ASKED,
    ),
    MetricText(
        "severity_change",
        "Order of severity, by the change",
        "The same, with how much the picture changes at the finding's place instead of what the judge says.",
        chance=0.5,
        topic=ASKED,
    ),
    MetricText(
        "ladder_judge",
        "Rising ladders, by the judge",
        "Small, moderate and large from one noise: the share of ladders in which the judge's probability"
        " rises at both steps.",
        topic=ASKED,
    ),
    MetricText(
        "ladder_change",
        "Rising ladders, by the change",
        "The same, with how much the picture differs from the prior.",
        topic=ASKED,
    ),
    MetricText(
        "ladder_change_at",
        "Rising ladders, by the change in place",
        "The same, only at the finding's anatomy: what else the picture changes does not count.",
        topic=ASKED,
    ),
    MetricText(
        "others_moved",
        "Other findings moved",
        "By how much the judge's probability of findings that are not to change differs from the prior's.",
        lower_is_better=True,
        topic=KEPT,
    ),
    MetricText(
        "change_outside",
        "Change elsewhere",
        "Mean absolute change, in grey levels of a range of 1, outside the anatomy that is to change.",
        lower_is_better=True,
        topic=KEPT,
    ),
    MetricText(
        "change_outside_share",
        "Share of change elsewhere",
        "Which share of all change lies outside the anatomy that is to change.",
        lower_is_better=True,
        topic=KEPT,
    ),
    MetricText(
        "identity",
        "Same patient, first guess",
        "Among the priors of all patients, how often a picture's own prior is the most like it.",
        topic=KEPT,
    ),
    MetricText(
        "identity_reciprocal",
        "Same patient, by rank",
        "The mean of 1/rank of a picture's own prior among the priors of all patients.",
        topic=KEPT,
    ),
    MetricText(
        "composition_drift",
        "Drift without an instruction",
        "Mean absolute difference from the prior after following the empty description, once and again.",
        lower_is_better=True,
        topic=KEPT,
    ),
    MetricText(
        "reversibility_error",
        "There and back: error",
        "A finding is asked for and then said to have resolved: how far the picture is from the prior it began with.",
        lower_is_better=True,
        topic=KEPT,
    ),
    MetricText(
        "reversibility_recovered",
        "There and back: finding gone",
        "Of the findings that had appeared, the share that is gone again.",
        topic=KEPT,
    ),
    MetricText(
        "truth_psnr",
        "PSNR to the truth",
        "Rendered patients have a true counterfactual: the same visit and noise with only the findings"
        " changed. How near the picture is to it, in decibels; inside and outside the region that had to"
        " change.",
        topic=TRUE,
    ),
    MetricText(
        "truth_ssim",
        "SSIM to the truth",
        "Likeness of structure with the true counterfactual, 1 is identical; inside and outside the"
        " region that had to change.",
        topic=TRUE,
    ),
    MetricText(
        "truth_agreement",
        "Judge agrees with the truth",
        "How often the judge says the same of the picture as of the true counterfactual, finding by finding.",
        topic=TRUE,
    ),
    MetricText(
        "truth_dice",
        "Anatomy vs truth",
        "Overlap of six structures with the renderer's exact masks (Dice).",
        topic=TRUE,
    ),
    MetricText(
        "truth_changed_share",
        "Share that had to change",
        "Which share of the picture differs between prior and true counterfactual: what was asked for, no merit.",
        has_best=False,
        topic=TRUE,
    ),
    MetricText(
        "fid",
        "FID",
        "Distance of the pictures as a set from the real references, by the judge's features. It depends"
        " on how many there are: compare within this page only.",
        lower_is_better=True,
        topic=REAL,
    ),
    MetricText(
        "kid",
        "KID",
        "The same as a kernel distance, which does not depend on how many there are.",
        lower_is_better=True,
        topic=REAL,
    ),
    MetricText(
        "fid_imagenet",
        "FID, ImageNet's features",
        "The usual network behind FID, which has never seen a radiograph.",
        lower_is_better=True,
        topic=REAL,
    ),
    MetricText(
        "kid_imagenet",
        "KID, ImageNet's features",
        "The same as a kernel distance.",
        lower_is_better=True,
        topic=REAL,
    ),
    MetricText(
        "kl_binary",
        "KL divergence, finding by finding",
        "The other reading of the paper's formula: each finding counts as present or absent with its own"
        " probability, and the five divergences are added.",
        lower_is_better=True,
        topic=REAL,
    ),
    MetricText(
        "diversity_ms_ssim",
        "Likeness of samples",
        "How alike samples of one request with different seeds are (MS-SSIM): 1 is no diversity. Neither end is best.",
        has_best=False,
        topic=REAL,
    ),
    MetricText(
        "training_likeness",
        "Likeness to training images",
        "Likeness to the nearest image of a training journey of another patient. Neither end is best.",
        has_best=False,
        topic=COPIED,
    ),
    MetricText(
        "memorised",
        "Memorised",
        "Share of pictures that are nearer to a training image than any real reference is.",
        lower_is_better=True,
        topic=COPIED,
    ),
)


def text_of(key: str) -> MetricText:
    """Find how to speak of a metric; an unknown one goes by its own name."""
    known = {text.key: text for text in (*METRIC_TEXTS, *FURTHER_TEXTS)}
    return known.get(key) or MetricText(key, key[:1].upper() + key[1:].replace("_", " "), "", topic=OTHER)
