"""Measures of further samples: axioms of counterfactuals, ladders of severity, diversity over seeds.

Source: Monteiro et al. 2023, Measuring axiomatic soundness of counterfactual image models (composition,
reversibility); Wang et al. 2003 (MS-SSIM).
"""

from collections.abc import Sequence
from functools import partial
from itertools import combinations

import numpy as np
import torch
from monai.metrics.regression import compute_ms_ssim
from torch import Tensor

from biomedjourney_monai.evaluation.metrics.measure import ASKED, KEPT, PROBES, REAL, Measure
from biomedjourney_monai.schema import FINDINGS

NULL_STEPS = 3
"""How often the empty description is followed."""


def mean_ms_ssim(samples: Sequence[Tensor]) -> np.ndarray:
    """Average the multi-scale structural similarity over all pairs of K >= 2 samples (B, 1, H, W); 1 is no diversity.

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


_measure = partial(Measure, section=PROBES, nothing="every prior shows all findings")

LADDERS = (
    _measure(
        key="ladder_judge",
        title="Rising ladders, by the judge",
        meaning="Small, moderate and large from one noise: the share of ladders in which the judge's probability"
        " rises at both steps.",
        topic=ASKED,
    ),
    _measure(
        key="ladder_change",
        title="Rising ladders, by the change",
        meaning="The same, with how much the picture differs from the prior.",
        topic=ASKED,
    ),
    _measure(
        key="ladder_change_at",
        title="Rising ladders, by the change in place",
        meaning="The same, only at the finding's anatomy: what else the picture changes does not count.",
        topic=ASKED,
        nothing="no anatomy was seen, or every prior shows all findings",
    ),
)
AXIOMS = (
    _measure(
        key="composition_drift",
        title="Drift without an instruction",
        meaning="Mean absolute difference from the prior after following the empty description, once and repeatedly."
        " Guidance subtracts the empty description, so this is small by construction.",
        topic=KEPT,
        parts=[f"after {n}" for n in range(1, NULL_STEPS + 1)],
        lower_is_better=True,
    ),
    _measure(
        key="no_change_drift",
        title="Drift after a sentence without change",
        meaning="Mean absolute difference from the prior after a report's sentence such as “No interval change.”;"
        " “redrawn” is without keep_unchanged, the autoencoder's losses included.",
        topic=KEPT,
        parts=["redrawn"],
        lower_is_better=True,
    ),
    _measure(
        key="no_change_findings",
        title="Findings kept without change",
        meaning="Of the findings that the judge sees in the prior, the share that it still sees after such a sentence.",
        topic=KEPT,
        nothing="the judge saw no finding in the priors",
    ),
    _measure(
        key="reversibility_error",
        title="There and back: error",
        meaning="A finding is asked for and then said to have resolved: how far the picture then is from the prior.",
        topic=KEPT,
        lower_is_better=True,
    ),
    _measure(
        key="reversibility_recovered",
        title="There and back: finding gone",
        meaning="Of the findings that had appeared, the share that has disappeared again.",
        topic=KEPT,
        parts=FINDINGS,
        nothing="nothing appeared to be undone",
    ),
)
DIVERSITY = _measure(
    key="diversity_ms_ssim",
    title="Likeness of samples",
    meaning="How alike samples of one request with different seeds are (MS-SSIM): 1 is no diversity."
    " Neither end is best.",
    topic=REAL,
    nothing="images under 112 pixels",
    has_best=False,
)
PROBE_MEASURES = (*LADDERS, *AXIOMS, DIVERSITY)
