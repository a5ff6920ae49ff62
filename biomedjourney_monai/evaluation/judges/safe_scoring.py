"""Score a batch although the judges fail on some of its images: those are reported, the others are scored."""

from collections.abc import Sequence

import torch
from torch import Tensor

from biomedjourney_monai.evaluation.judges.equal_groups import equal_groups
from biomedjourney_monai.evaluation.judges.scores import Judges, JudgeScores
from biomedjourney_monai.evaluation.metrics.labels import RACE_GROUPS
from biomedjourney_monai.schema import FINDINGS, STRUCTURES


def score_safely(judges: Judges, images: Tensor) -> tuple[JudgeScores, dict[int, str]]:
    """Score a batch, shape (B, 1, H, W), in equal groups; where the judges fail on a group, image by image.

    Returns:
        The scores, NaN and empty masks where the judges failed, and the reason by position in the batch.
    """
    if not len(images):
        return judges.score(images), {}
    parts: list[JudgeScores] = []
    faults: dict[int, str] = {}
    for places, group in equal_groups(images):
        try:
            whole = judges.score(group)
            parts.append(JudgeScores(*(values[: places.stop - places.start] for values in vars(whole).values())))
        except Exception:  # a judge is a third party's network: whatever it raises concerns one image
            for place in range(places.start, places.stop):
                scores, fault = _score_alone(judges, images[place])
                parts.append(scores)
                faults |= {place: fault} if fault else {}
    scores = JudgeScores(*(torch.cat(columns) for columns in zip(*(vars(part).values() for part in parts))))
    told = torch.isfinite(scores.race).any()  # otherwise these judges know no groups
    unknown = ~torch.isfinite(scores.as_columns() if told else scores.pathology + scores.age[:, None]).all(dim=1)
    for place in unknown.nonzero().flatten().tolist():
        faults.setdefault(place, "the judges gave a number that is not finite")
    return scores, faults


def _score_alone(judges: Judges, image: Tensor) -> tuple[JudgeScores, str]:
    """Score one image, (1, H, W); where the judges fail, NaN and the reason."""
    try:
        return judges.score(image[None]), ""
    except Exception as error:
        return _no_scores(image.shape[-2:]), f"the judges failed ({type(error).__name__})"


def _no_scores(shape: Sequence[int]) -> JudgeScores:
    structures = torch.zeros((1, len(STRUCTURES), *shape), dtype=torch.bool)
    findings, groups = (torch.full((1, len(names)), torch.nan) for names in (FINDINGS, RACE_GROUPS))
    return JudgeScores(findings, groups, torch.full((1,), torch.nan), structures)
