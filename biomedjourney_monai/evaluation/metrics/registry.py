"""Every measure, in the order of the tables. A new metric has its own file and one line here."""

from biomedjourney_monai.evaluation.metrics import feature_sets, probes, truth_error
from biomedjourney_monai.evaluation.metrics.auroc import CHANGED_AUROC, PATHOLOGY_AUROC, RACE_AUROC, SEX_AUROC
from biomedjourney_monai.evaluation.metrics.cmig import CMIG_MEASURE, CMIG_WITH_DICE
from biomedjourney_monai.evaluation.metrics.correlation import AGE_R
from biomedjourney_monai.evaluation.metrics.dice import DICE_PRIOR, DICE_REFERENCE
from biomedjourney_monai.evaluation.metrics.divergence import KL_BINARY, KL_CATEGORICAL
from biomedjourney_monai.evaluation.metrics.effectiveness import EFFECTIVENESS, OTHERS_MOVED
from biomedjourney_monai.evaluation.metrics.feature_sets import FEATURE_SETS
from biomedjourney_monai.evaluation.metrics.measure import FURTHER, OTHER, PAPER, Measure
from biomedjourney_monai.evaluation.metrics.severity import SEVERITY_CHANGE, SEVERITY_CONCORDANCE
from biomedjourney_monai.evaluation.metrics.sides import SIDE_CORRECT
from biomedjourney_monai.evaluation.metrics.target_change import CHANGE_OUTSIDE, CHANGE_OUTSIDE_SHARE

MEASURES: tuple[Measure, ...] = (
    PATHOLOGY_AUROC,
    CHANGED_AUROC,
    RACE_AUROC,
    AGE_R,
    CMIG_MEASURE,
    CMIG_WITH_DICE,
    KL_CATEGORICAL,
    DICE_REFERENCE,
    DICE_PRIOR,
    EFFECTIVENESS,
    SIDE_CORRECT,
    SEVERITY_CONCORDANCE,
    SEVERITY_CHANGE,
    *probes.LADDERS,
    OTHERS_MOVED,
    CHANGE_OUTSIDE,
    CHANGE_OUTSIDE_SHARE,
    SEX_AUROC,
    *feature_sets.IDENTITY,
    *probes.AXIOMS,
    *truth_error.MEASURES,
    *FEATURE_SETS,
    KL_BINARY,
    probes.DIVERSITY,
    *feature_sets.MEMORISATION,
)
PAPER_MEASURES = tuple(measure for measure in MEASURES if measure.section == PAPER)
FURTHER_MEASURES = tuple(measure for measure in MEASURES if measure.section == FURTHER)
HEADLINES = tuple(measure for measure in MEASURES if measure.headline)
MAIN_TABLE = tuple(sorted((m for m in MEASURES if not m.topic), key=lambda measure: measure.lower_is_better))
"""Measures of the report page's main tables; those where lower is better come last."""

_BY_KEY = {measure.key: measure for measure in MEASURES}


def measure_of(key: str) -> Measure:
    """The measure of this key; an unknown one has its key as its title."""
    title = key[:1].upper() + key[1:].replace("_", " ")
    return _BY_KEY.get(key) or Measure(key=key, title=title, topic=OTHER)
