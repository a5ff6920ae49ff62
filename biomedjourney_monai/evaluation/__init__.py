"""Scoring counterfactuals: judges, metrics, baselines and the report.

Each metric climbs the same ladder: a function on arrays, a MONAI `Metric` in `metrics`, an Ignite handler in
`handlers`.
"""

from biomedjourney_monai.evaluation.metrics.auroc import compute_auroc, compute_finding_aurocs, compute_group_aurocs
from biomedjourney_monai.evaluation.metrics.cmig import clamped_terms, compute_cmig, compute_cmig_with_dice
from biomedjourney_monai.evaluation.metrics.correlation import compute_pearson_r
from biomedjourney_monai.evaluation.metrics.dice import compute_structure_dice
from biomedjourney_monai.evaluation.metrics.divergence import compute_kl
from biomedjourney_monai.evaluation.metrics.labels import RACE_GROUPS, apply_label_policy, changed_only, race_group

__all__ = [
    "RACE_GROUPS",
    "apply_label_policy",
    "changed_only",
    "clamped_terms",
    "compute_auroc",
    "compute_cmig",
    "compute_cmig_with_dice",
    "compute_finding_aurocs",
    "compute_group_aurocs",
    "compute_kl",
    "compute_pearson_r",
    "compute_structure_dice",
    "race_group",
]
