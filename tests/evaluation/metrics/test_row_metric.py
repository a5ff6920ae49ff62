"""The MONAI metrics and their Ignite handlers: batches give the numbers of the functions and of other libraries."""

import numpy as np
import pytest
import torch
from ignite.engine import Engine
from sklearn.metrics import roc_auc_score

from biomedjourney_monai.evaluation.metrics.auroc import GroupAUROCMetric, PathologyAUROC, PathologyAUROCMetric
from biomedjourney_monai.evaluation.metrics.cmig import (
    CMIG,
    CMIGMetric,
    CMIGWithDiceMetric,
    compute_cmig,
    compute_cmig_with_dice,
)
from biomedjourney_monai.evaluation.metrics.correlation import PearsonRMetric
from biomedjourney_monai.evaluation.metrics.dice import StructureDice, StructureDiceMetric, compute_structure_dice
from biomedjourney_monai.evaluation.metrics.divergence import KLMetric, compute_kl


def judged(rows=60, seed=0):
    """Outputs of a judge that is right more often than not, and the truth, as CMIGMetric takes them."""
    generator = np.random.default_rng(seed)
    findings, group, age = generator.integers(0, 2, (rows, 5)), np.arange(rows) % 3, generator.normal(60, 12, rows)
    outputs = np.column_stack(
        [
            findings + generator.normal(0, 0.8, (rows, 5)),
            np.eye(3)[group] + generator.normal(0, 0.5, (rows, 3)),
            age + generator.normal(0, 8, rows),
        ]
    )
    return torch.tensor(outputs), torch.tensor(np.column_stack([findings, group, age]))


def expected_cmig(outputs, truth):
    outputs, truth = outputs.numpy(), truth.numpy()
    pathology = roc_auc_score(truth[:, :5], outputs[:, :5], average="macro")
    race = roc_auc_score(np.eye(3)[truth[:, 5].astype(int)], outputs[:, 5:8], average="macro")
    return compute_cmig([pathology], [race, np.corrcoef(outputs[:, 8], truth[:, 6])[0, 1]])


def test_cmig_metric_gathers_batches():
    outputs, truth = judged()
    metric = CMIGMetric()
    for start in range(0, 60, 16):
        metric(outputs[start : start + 16], truth[start : start + 16])
    assert metric.aggregate().item() == pytest.approx(expected_cmig(outputs, truth), abs=1e-4)


def test_three_term_metric_adds_the_mean_dice_as_a_retention_term():
    outputs, truth = judged()
    dice = torch.rand((60, 6), generator=torch.Generator().manual_seed(3)).double()
    dice[4, 2] = torch.nan
    metric = CMIGWithDiceMetric()
    metric(torch.cat([outputs, dice], dim=1), truth)
    pathology = roc_auc_score(truth[:, :5], outputs[:, :5])
    race = roc_auc_score(np.eye(3)[truth[:, 5].int()], outputs[:, 5:8], average="macro")
    r = np.corrcoef(outputs[:, 8], truth[:, 6])[0, 1]
    expected = compute_cmig_with_dice([pathology], [race, r], np.nanmean(dice.numpy(), axis=0).mean())
    assert metric.aggregate().item() == pytest.approx(expected, abs=1e-6)


def test_cmig_metric_refuses_truth_of_another_width():
    with pytest.raises(ValueError, match="y must be"):
        CMIGMetric()(torch.zeros(2, 9), torch.zeros(2, 5))


def test_a_metric_that_saw_nothing_says_so():
    with pytest.raises(ValueError, match="at least one batch"):
        CMIGMetric().aggregate()


def test_pathology_metric_agrees_with_scikit_learn():
    outputs, truth = judged()
    metric = PathologyAUROCMetric()
    metric(outputs[:, :5], truth[:, :5])
    assert metric.aggregate().item() == pytest.approx(roc_auc_score(truth[:, :5], outputs[:, :5]), abs=1e-4)


def test_dice_metric_is_the_mean_of_the_function():
    one, two = (torch.rand((4, 6, 8, 8), generator=torch.Generator().manual_seed(s)) for s in (1, 2))
    metric = StructureDiceMetric()
    metric(one[:3], two[:3])
    metric(one[3:], two[3:])
    assert metric.aggregate().item() == pytest.approx(compute_structure_dice(one > 0.5, two > 0.5).mean().item())


def test_group_metric_agrees_with_scikit_learn():
    outputs, truth = judged()
    metric = GroupAUROCMetric()
    metric(outputs[:25, 5:8], truth[:25, 5])
    metric(outputs[25:, 5:8], truth[25:, 5])
    expected = roc_auc_score(np.eye(3)[truth[:, 5].int()], outputs[:, 5:8], average="macro")
    assert metric.aggregate().item() == pytest.approx(expected, abs=1e-6)


def test_pearson_metric_agrees_with_numpy_and_leaves_unknown_ages_out():
    outputs, truth = judged()
    truth[7, 6] = torch.nan
    metric = PearsonRMetric()
    metric(outputs[:30, 8], truth[:30, 6])
    metric(outputs[30:, 8], truth[30:, 6])
    known = torch.isfinite(truth[:, 6])
    expected = np.corrcoef(outputs[known, 8], truth[known, 6])[0, 1]
    assert metric.aggregate().item() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("form", ["categorical", "binary"])
def test_kl_metric_is_the_mean_over_readable_images(form):
    p, q = (torch.rand((9, 5), generator=torch.Generator().manual_seed(s)) for s in (1, 2))
    expected = compute_kl(p[:8].numpy(), q[:8].numpy(), form=form).mean()
    q[8] = torch.nan
    metric = KLMetric(form)
    metric(q[:4], p[:4])
    metric(q[4:], p[4:])
    assert metric.aggregate().item() == pytest.approx(expected, rel=1e-6)


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
