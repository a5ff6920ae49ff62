"""Ignite handlers over the MONAI metrics, for `key_val_metric` and `additional_metrics` of a MONAI evaluator."""

from __future__ import annotations

from collections.abc import Callable

from monai.handlers import IgniteMetricHandler

from biomedjourney_monai.evaluation.metrics import CMIGMetric, PathologyAUROCMetric, StructureDiceMetric


class PathologyAUROC(IgniteMetricHandler):
    """Mean pathology AUROC; `output_transform` gives (probabilities, labels), see `PathologyAUROCMetric`."""

    def __init__(self, output_transform: Callable = lambda output: output) -> None:
        super().__init__(metric_fn=PathologyAUROCMetric(), output_transform=output_transform, save_details=False)


class CMIG(IgniteMetricHandler):
    """CMIG; `output_transform` gives (judges' outputs, truth), see `CMIGMetric`."""

    def __init__(self, num_findings: int = 5, output_transform: Callable = lambda output: output) -> None:
        super().__init__(metric_fn=CMIGMetric(num_findings), output_transform=output_transform, save_details=False)


class StructureDice(IgniteMetricHandler):
    """Mean Dice of the structures; `output_transform` gives (masks, reference masks)."""

    def __init__(self, output_transform: Callable = lambda output: output) -> None:
        super().__init__(metric_fn=StructureDiceMetric(), output_transform=output_transform, save_details=False)
