import pytest
import torch
from ignite.engine import Engine

from biomedjourney_monai.evaluation.metrics.handlers import CMIG, PathologyAUROC, StructureDice
from biomedjourney_monai.evaluation.metrics.monai_metrics import CMIGMetric, PathologyAUROCMetric, StructureDiceMetric


def _run(handler, batches):
    evaluator = Engine(lambda engine, batch: batch)
    handler.attach(evaluator, "score")
    return evaluator.run(batches).metrics["score"]


def _batches(seed, *, width, binary):
    generator = torch.Generator().manual_seed(seed)
    for _ in range(3):
        truth = torch.randint(0, 2, (10, 5), generator=generator).float()
        rest = torch.stack([torch.arange(10) % 3, torch.rand(10, generator=generator)], dim=1)
        yield torch.rand((10, width), generator=generator), truth if binary else torch.cat([truth, rest], dim=1)


@pytest.mark.parametrize(
    "handler, metric, width, binary",
    [(PathologyAUROC(), PathologyAUROCMetric(), 5, True), (CMIG(), CMIGMetric(), 9, False)],
)
def test_handler_reports_what_the_metric_computes(handler, metric, width, binary):
    batches = list(_batches(3, width=width, binary=binary))
    for outputs, truth in batches:
        metric(outputs, truth)
    assert _run(handler, batches) == pytest.approx(metric.aggregate().item())


def test_dice_handler_reports_what_the_metric_computes():
    batches = [tuple(torch.rand((2, 2, 6, 8, 8), generator=torch.Generator().manual_seed(s))) for s in range(3)]
    metric = StructureDiceMetric()
    for masks, reference in batches:
        metric(masks, reference)
    assert _run(StructureDice(), batches) == pytest.approx(metric.aggregate().item())
