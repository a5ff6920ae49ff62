"""How the report speaks of a metric. One that it has no words for is shown all the same, under its own name."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class MetricText:
    """How the page speaks of a metric."""

    key: str
    name: str
    meaning: str
    chance: float | None = None
    lower_is_better: bool = False


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

FURTHER_TEXTS = (
    MetricText(
        "kl_binary",
        "KL divergence, finding by finding",
        "The other reading of the paper's formula: each finding counts as present or absent with its own probability,"
        " and the five divergences are added. 0 is best.",
        lower_is_better=True,
    ),
    MetricText(
        "truth_psnr",
        "PSNR to the truth",
        "Rendered patients have a true counterfactual: the same visit and noise with only the findings changed."
        " How near the picture is to it, in decibels; inside and outside the region that had to change.",
    ),
    MetricText(
        "truth_ssim",
        "SSIM to the truth",
        "Likeness of structure with the true counterfactual, 1 is identical; inside and outside the region that had to"
        " change.",
    ),
    MetricText(
        "truth_agreement",
        "Judge agrees with the truth",
        "How often the judge says the same of the picture as of the true counterfactual, finding by finding.",
    ),
    MetricText(
        "truth_dice", "Anatomy vs truth", "Overlap of six structures with those of the true counterfactual (Dice)."
    ),
    MetricText(
        "truth_changed_share",
        "Share that had to change",
        "Which share of the picture differs between prior and true counterfactual: what was asked for, no merit.",
    ),
    MetricText(
        "side_correct",
        "Right side",
        "Where a new finding is asked for on one side: how often it shows there and not on the other.",
    ),
    MetricText(
        "severity_concordance",
        "Order of severity words",
        "Of two pictures that were asked for different severities of a finding, how often the judge is surer of the"
        " more severe one (0.5 is chance).",
        chance=0.5,
    ),
)


def text_of(key: str) -> MetricText:
    """Find how to speak of a metric; an unknown one goes by its own name."""
    known = {text.key: text for text in (*METRIC_TEXTS, *FURTHER_TEXTS)}
    return known.get(key) or MetricText(key, key[:1].upper() + key[1:].replace("_", " "), "")
