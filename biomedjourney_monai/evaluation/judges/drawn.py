"""Whether the judge sees in a counterfactual what its description asked for, on the side it asked for."""

import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
import torch

from biomedjourney_monai.evaluation.judges.domain import KnowsDomain, judge_for
from biomedjourney_monai.evaluation.judges.loading import load_judges_by_name
from biomedjourney_monai.evaluation.judges.trusted import shown_pathology
from biomedjourney_monai.evaluation.metrics.sides import SEEN, only_half
from biomedjourney_monai.generation.request import Checked
from biomedjourney_monai.preparation.descriptions.request import read_request
from biomedjourney_monai.preparation.reports.states import Change
from biomedjourney_monai.schema import FINDINGS

logger = logging.getLogger(__name__)

NOT_SEEN, UNASKED = "finding_not_seen", "finding_not_asked_for"
SIDES = ("left", "right")
REMEMBERED = 256
"""Priors whose judges and findings are remembered: one prior is often asked for several changes."""

Found = TypeVar("Found")


class _OfPriors(Generic[Found]):
    """Remembers what was found of the last priors. Threads may share it."""

    def __init__(self) -> None:
        self._found: dict[bytes, Found] = {}
        self._lock = threading.Lock()

    def get(self, prior: np.ndarray, find: Callable[[], Found]) -> Found:
        """What is remembered of a prior, found first if nothing is."""
        key = sha256(prior.tobytes()).digest()
        with self._lock:
            if key not in self._found:
                if len(self._found) == REMEMBERED:
                    self._found.clear()
                self._found[key] = find()
            return self._found[key]


class JudgeReview:
    """Warns after generation where the judge of the prior's domain does not see what was asked for.

    It says nothing of priors that no judge knows. Threads may share it.

    Args:
        folder: the judges' weights, which are loaded at the first use.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._judges: Mapping[str, KnowsDomain] | None = None
        self._of_priors, self._seen = _OfPriors[KnowsDomain | None](), _OfPriors[np.ndarray]()

    def judges_for(self, prior: np.ndarray) -> KnowsDomain | None:
        """The judges that know pictures like this prior, float32 in [0, 1], shape (S, S); None if none does.

        Raises:
            WeightsError: if weights are unreadable or do not fit.
        """
        return self._of_priors.get(prior, lambda: judge_for(self._load(), prior))

    def _load(self) -> Mapping[str, KnowsDomain]:
        """The judges; `_OfPriors` lets one thread at a time come here."""
        if self._judges is None:
            self._judges = load_judges_by_name(self.folder)
            if not self._judges:
                logger.warning("the bundle has no judges: nobody checks whether the findings are drawn")
        return self._judges

    def __call__(self, checked: Checked, squares: np.ndarray) -> tuple[str, ...]:
        """Warnings about the samples of a request, shape (K, S, S), in [0, 1]."""
        prior = checked.prior.image
        judges = self.judges_for(prior)
        if judges is None:
            return ()
        seen = self._seen.get(prior, lambda: _findings_in(judges, prior))
        count, asked = len(squares), checked.description
        found = Counter(text for one in squares for text in warn_of_unseen(judges, prior, one, asked, seen=seen))
        return tuple(text + (f", in {n} of {count} samples" if count > 1 else "") for text, n in found.items())


def _batch(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(image))[None, None]


def _findings_in(judges: KnowsDomain, image: np.ndarray) -> np.ndarray:
    """The judge's probabilities of the findings in one image (S, S), shape (5,)."""
    return shown_pathology(judges, _batch(image))[0]


def judge_halves(
    judges: KnowsDomain, prior: np.ndarray, square: np.ndarray, *, seen: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """The judge's probabilities of the findings, shape (5,): "prior", "" for the whole image, "left" and "right" for
    the prior with only that half of the counterfactual; NaN for findings that the judge is not trusted with.

    Args:
        prior: float32 in [0, 1], shape (S, S).
        square: the counterfactual, same shape.
        seen: those of the prior, where they are known.
    """
    before, after = _batch(prior), _batch(square)
    images = torch.cat([after, *(only_half(side, after, before) for side in SIDES)])
    shown = dict(zip(("", *SIDES), shown_pathology(judges, images), strict=True))
    return {"prior": _findings_in(judges, prior) if seen is None else seen, **shown}


def warn_of_unseen(
    judges: KnowsDomain, prior: np.ndarray, square: np.ndarray, description: str, *, seen: np.ndarray | None = None
) -> tuple[str, ...]:
    """Warnings for the user where the judge does not see a requested finding, or sees one that should be gone.

    Only for priors like those that the judge was trained on; on others its probabilities mean little. Nothing is said
    of findings that it is not trusted with. `seen` are the prior's probabilities, where they are known.
    """
    shown = judge_halves(judges, prior, square, seen=seen)
    changes = read_request(description).changes
    asked = {change.label for change in changes}
    appeared = [
        label.lower()
        for n, label in enumerate(FINDINGS)
        if label not in asked and shown[""][n] > SEEN >= shown["prior"][n]
    ]
    unasked = (f"the judge also sees {', '.join(appeared)} ({UNASKED})",) if appeared else ()
    return unasked + tuple(warning for change in changes for warning in _unmet(change, shown))


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
