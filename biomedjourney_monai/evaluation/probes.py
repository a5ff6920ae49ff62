"""What only further sampling shows: composition, reversibility, the ladder of severities, diversity over seeds.

Source: Monteiro et al. 2023, Measuring axiomatic soundness of counterfactual image models (composition,
reversibility); Wang et al. 2003 (MS-SSIM).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import torch
from monai.metrics.regression import compute_ms_ssim
from torch import Tensor

from biomedjourney_monai.evaluation.further import unknown
from biomedjourney_monai.evaluation.judges.loading import Judges
from biomedjourney_monai.evaluation.metrics.bootstrap import weighted_mean
from biomedjourney_monai.evaluation.metrics.target_change import target_region
from biomedjourney_monai.evaluation.summary import OVERALL, Statistic, Summary
from biomedjourney_monai.evaluation.systems.asked_findings import SIDED, SIDES, WHOLE, is_absent
from biomedjourney_monai.schema import FINDINGS, SEVERITY_WORDS

Generate = Callable[[Tensor, Sequence[str], Sequence[int]], Tensor]
"""Prior images (B, 1, H, W) in [0, 1], descriptions and seeds -> counterfactuals, same shape."""

STEPS = 3
"""How often the null instruction is followed."""

NAMES = {"Edema": "pulmonary edema"}
SEEN = 0.5

PARTS = {
    "composition_drift": tuple(f"after {n}" for n in range(1, STEPS + 1)),
    "reversibility_error": (),
    "reversibility_recovered": FINDINGS,
    "ladder_judge": (),
    "ladder_change": (),
    "ladder_change_at": (),
    "diversity_ms_ssim": (),
}
"""Metric -> its parts beside the overall number."""


@dataclass(frozen=True)
class Probe:
    """A finding that a patient's prior does not show, and the texts that ask for it.

    Attributes:
        finding: of `schema.FINDINGS`.
        side: of the patient; WHOLE for a finding without sides.
        ladder: three texts of rising severity.
        undo: says that it is gone.
    """

    finding: str
    side: str
    ladder: tuple[str, str, str]
    undo: str


def choose_probe(prior_labels: Mapping[str, float], *, turn: int) -> Probe | None:
    """Choose the finding to ask for: the first, from the `turn`-th on, that the prior does not show; None for none."""
    for step in range(len(FINDINGS)):
        finding = FINDINGS[(turn + step) % len(FINDINGS)]
        if is_absent(prior_labels[finding]):
            side = SIDES[turn % 2] if finding in SIDED else WHOLE
            name = f"{side} ".lstrip() + NAMES.get(finding, finding.lower())
            ladder = tuple(f"New {word} {name}." for word in SEVERITY_WORDS[finding])
            return Probe(finding, side, ladder, f"The {name} has resolved.")
    return None


def run_probes(
    images: Tensor,
    rows: Sequence[Mapping[str, Any]],
    descriptions: Sequence[str],
    generate: Generate,
    judges: Judges,
    *,
    seed: int = 0,
    samples: int = 3,
    turn: int = 0,
) -> np.ndarray:
    """Sample and measure one batch of prior images.

    Args:
        images: prior images, shape (B, 1, H, W), in [0, 1].
        rows: of pairs.parquet.
        descriptions: of the journeys, for the diversity.
        generate: the model.
        judges: see the findings.
        seed: of the first journey; each has its own from there on.
        samples: seeds per journey for the diversity, >= 2.
        turn: number of the first journey, so that findings take turns.

    Returns:
        Shape (B, number of columns of `probe_columns`); NaN where a probe does not apply.
    """
    if samples < 2:
        raise ValueError(f"samples must be >= 2; found {samples}.")
    count = len(images)
    seeds = [seed + n for n in range(count)]
    drift, current = [], images
    for _ in range(STEPS):
        current = generate(current, [""] * count, seeds)
        drift.append(_distance(current, images))
    columns = {f"composition_drift after {n + 1}": values for n, values in enumerate(drift)}
    columns["composition_drift overall"] = drift[0]
    again = [generate(images, list(descriptions), [s + 10_007 * k for s in seeds]) for k in range(samples)]
    columns["diversity_ms_ssim overall"] = mean_ms_ssim(again)
    probes = [choose_probe({f: row[f"prior_{f}"] for f in FINDINGS}, turn=turn + n) for n, row in enumerate(rows)]
    asked = [n for n, probe in enumerate(probes) if probe is not None]
    found = {name: np.full(count, np.nan) for name in probe_columns() if name not in columns}
    if asked:
        values = _ladder_and_back(
            images[asked], [probes[n] for n in asked], [seeds[n] for n in asked], generate, judges
        )
        for name, value in values.items():
            found[name][asked] = value
    columns |= found
    return np.column_stack([columns[name] for name in probe_columns()])


def probe_columns() -> list[str]:
    """Names of the columns: each a metric and, after a space, its part."""
    return [f"{name} {part}" for name, parts in PARTS.items() for part in (OVERALL, *parts)]


def _ladder_and_back(
    images: Tensor, probes: Sequence[Probe], seeds: Sequence[int], generate: Generate, judges: Judges
) -> dict[str, np.ndarray]:
    """Three severities from one noise; then the moderate one undone."""
    rungs = [generate(images, [probe.ladder[step] for probe in probes], seeds) for step in range(3)]
    back = generate(rungs[1], [probe.undo for probe in probes], seeds)
    place = np.arange(len(probes)), [FINDINGS.index(probe.finding) for probe in probes]
    scores = [judges.score(rung.clamp(0, 1)) for rung in (*rungs, images)]
    seen = np.stack([score.pathology.numpy()[place] for score in scores[:3]])  # (3, B)
    after = judges.score(back.clamp(0, 1)).pathology.numpy()[place]
    change = np.stack([_distance(rung, images) for rung in rungs])
    structures = torch.stack([score.structures for score in scores]).any(dim=0).numpy()  # of the prior or of any rung
    change_at = np.stack([_change_at(rung, images, structures, probes) for rung in rungs])
    recovered = np.where(seen[1] > SEEN, after <= SEEN, np.nan)
    asked_for = np.array([probe.finding for probe in probes])
    by_finding = {f: np.where(asked_for == f, recovered, np.nan) for f in FINDINGS}
    return {
        "ladder_judge overall": rises(seen),
        "ladder_change overall": rises(change),
        "ladder_change_at overall": np.where(np.isfinite(change_at).all(axis=0), rises(change_at), np.nan),
        "reversibility_error overall": _distance(back, images),
        "reversibility_recovered overall": recovered,
        **{f"reversibility_recovered {finding}": values for finding, values in by_finding.items()},
    }


def rises(values: np.ndarray) -> np.ndarray:
    """Whether values of shape (rungs, B) rise at every step, bool, shape (B,)."""
    return (np.diff(values, axis=0) > 0).all(axis=0)


def _change_at(images: Tensor, priors: Tensor, structures: np.ndarray, probes: Sequence[Probe]) -> np.ndarray:
    """Mean absolute change at the anatomy of each probe's finding, shape (B,); NaN where none is seen."""
    values = np.full(len(probes), np.nan)
    change = (images - priors).abs()[:, 0].double().numpy()  # (B, H, W)
    for n, probe in enumerate(probes):
        at = target_region(structures[n], [(probe.finding, probe.side)])
        if at.any():
            values[n] = change[n][at].mean()
    return values


def mean_ms_ssim(samples: Sequence[Tensor]) -> np.ndarray:
    """Average the multi-scale structural similarity over all pairs of samples of one request; 1 is no diversity.

    Args:
        samples: K >= 2 tensors of shape (B, 1, H, W), in [0, 1]: one sample of each of B requests.

    Returns:
        Shape (B,); NaN for images under 112 pixels, which have too few for five scales. Windows are 11 pixels wide, 7
        for images under 176 pixels.
    """
    side = min(samples[0].shape[-2:])
    if side // 16 <= 6:
        return np.full(len(samples[0]), np.nan)
    size = 11 if side // 16 > 10 else 7
    pairs = [compute_ms_ssim(x, y, spatial_dims=2, kernel_size=size)[:, 0] for x, y in combinations(samples, 2)]
    return torch.stack(pairs).mean(dim=0).double().numpy()


def _distance(images: Tensor, others: Tensor) -> np.ndarray:
    return (images - others).abs().double().mean(dim=(1, 2, 3)).numpy()


def summarise_probes(values: np.ndarray, *, weights: np.ndarray) -> Summary:
    """Average the probes' columns.

    Args:
        values: of `run_probes`, all batches, shape (N, columns).
        weights: of `draw_patient_weights`, shape (1 + R, N).
    """
    reasons = {
        "diversity_ms_ssim": "images under 112 pixels",
        "ladder_change_at": "no anatomy was seen, or every prior shows all findings",
        "reversibility_recovered": "nothing appeared to be undone",
    }
    summary: Summary = {}
    for column, name in enumerate(probe_columns()):
        metric, _, part = name.partition(" ")
        known = int(np.isfinite(values[:, column]).sum())
        statistic = Statistic(weighted_mean(values[:, column], weights=weights), known)
        reason = reasons.get(metric, "every prior shows all findings")
        summary.setdefault(metric, {})[part] = statistic if known else unknown(len(weights), reason)
    return summary
