"""Ignite handlers over the MONAI metrics, for `key_val_metric` and `additional_metrics` of a MONAI evaluator."""

from __future__ import annotations

from collections.abc import Callable

from monai.handlers import IgniteMetricHandler

from biomedjourney_monai.evaluation.metrics.monai_metrics import (
    CMIGMetric,
    CMIGWithDiceMetric,
    GroupAUROCMetric,
    KLMetric,
    PathologyAUROCMetric,
    PearsonRMetric,
    StructureDiceMetric,
)


class PathologyAUROC(IgniteMetricHandler):
    """Mean pathology AUROC; `output_transform` gives (probabilities, labels), see `PathologyAUROCMetric`."""

    def __init__(self, output_transform: Callable = lambda output: output) -> None:
        super().__init__(metric_fn=PathologyAUROCMetric(), output_transform=output_transform, save_details=False)


class GroupAUROC(IgniteMetricHandler):
    """Mean one-vs-rest AUROC of the groups; `output_transform` gives (probabilities, group)."""

    def __init__(self, output_transform: Callable = lambda output: output) -> None:
        super().__init__(metric_fn=GroupAUROCMetric(), output_transform=output_transform, save_details=False)


class PearsonR(IgniteMetricHandler):
    """Pearson's r; `output_transform` gives two columns of shape (B,)."""

    def __init__(self, output_transform: Callable = lambda output: output) -> None:
        super().__init__(metric_fn=PearsonRMetric(), output_transform=output_transform, save_details=False)


class KL(IgniteMetricHandler):
    """Mean divergence; `output_transform` gives the findings' probabilities on the scored image and the reference."""

    def __init__(self, form: str = "categorical", output_transform: Callable = lambda output: output) -> None:
        super().__init__(metric_fn=KLMetric(form), output_transform=output_transform, save_details=False)


class CMIG(IgniteMetricHandler):
    """CMIG; `output_transform` gives (judges' outputs, truth), see `CMIGMetric`."""

    def __init__(self, num_findings: int = 5, output_transform: Callable = lambda output: output) -> None:
        super().__init__(metric_fn=CMIGMetric(num_findings), output_transform=output_transform, save_details=False)


class CMIGWithDice(IgniteMetricHandler):
    """The three-term variant of CMIG; `output_transform` gives (judges' outputs and Dice, truth)."""

    def __init__(self, num_findings: int = 5, output_transform: Callable = lambda output: output) -> None:
        metric = CMIGWithDiceMetric(num_findings)
        super().__init__(metric_fn=metric, output_transform=output_transform, save_details=False)


class StructureDice(IgniteMetricHandler):
    """Mean Dice of the structures; `output_transform` gives (masks, reference masks)."""

    def __init__(self, output_transform: Callable = lambda output: output) -> None:
        super().__init__(metric_fn=StructureDiceMetric(), output_transform=output_transform, save_details=False)
