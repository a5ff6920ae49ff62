"""Whether the judge sees in a counterfactual what its description asked for, on the side it asked for."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from biomedjourney_monai.evaluation.judges.loading import Judges
from biomedjourney_monai.evaluation.metrics.sides import SEEN, only_half
from biomedjourney_monai.preparation.descriptions.request import read_request
from biomedjourney_monai.preparation.reports.states import Change
from biomedjourney_monai.schema import FINDINGS

NOT_SEEN, UNASKED = "finding_not_seen", "finding_not_asked_for"
SIDES = ("left", "right")


def judge_halves(judges: Judges, prior: np.ndarray, square: np.ndarray) -> dict[str, np.ndarray]:
    """The judge's probabilities of the findings, shape (5,): "prior", "" for the whole image, "left" and "right" for
    the prior with only that half of the counterfactual.

    Args:
        prior: float32 in [0, 1], shape (S, S).
        square: the counterfactual, same shape.
    """
    before, after = (torch.from_numpy(np.ascontiguousarray(image))[None, None] for image in (prior, square))
    images = [before, after, *(only_half(side, after, before) for side in SIDES)]
    return dict(zip(("prior", "", *SIDES), judges.score(torch.cat(images)).pathology.numpy(), strict=True))


def warn_of_unseen(judges: Judges, prior: np.ndarray, square: np.ndarray, description: str) -> tuple[str, ...]:
    """Warnings for the user where the judge does not see a requested finding, or sees one that should be gone.

    Only for priors like those that the judge was trained on; on others its probabilities mean little.
    """
    seen = judge_halves(judges, prior, square)
    changes = read_request(description).changes
    asked = {change.label for change in changes}
    appeared = [
        label.lower()
        for n, label in enumerate(FINDINGS)
        if label not in asked and seen[""][n] > SEEN >= seen["prior"][n]
    ]
    unasked = (f"the judge also sees {', '.join(appeared)} ({UNASKED})",) if appeared else ()
    return unasked + tuple(warning for change in changes for warning in _unmet(change, seen))


def _unmet(change: Change, seen: dict[str, np.ndarray]) -> Iterator[str]:
    if change.label not in FINDINGS or change.kind in ("same", "possible"):
        return
    column, name = FINDINGS.index(change.label), change.label.lower()
    before = seen["prior"][column]
    if change.kind in ("resolved", "absent"):
        if any(seen[side][column] > SEEN for side in change.severities):
            yield f"the judge still sees {name} ({NOT_SEEN})"
        return
    if any(seen[side][column] <= SEEN for side in change.severities):
        yield f"the judge does not see the requested {name} ({NOT_SEEN})"
    others = [side for side in SIDES if side not in change.severities and "" not in change.severities]
    if any(seen[side][column] > SEEN >= before for side in others):
        yield f"the judge sees {name} on the other side too ({NOT_SEEN})"
