"""The metadata of a counterfactual: model, settings and request."""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from biomedjourney_monai import __version__
from biomedjourney_monai.files import file_hash
from biomedjourney_monai.radiographs import NOT_FOR_DIAGNOSIS


def provenance(weights: str | Path, settings: Mapping[str, Any], *, precision: str = "float32") -> dict[str, Any]:
    """The metadata that all pictures of a model share: mark, software, model and `CounterfactualSampler.settings`.

    `model` is the hash of the model file, "" if the file is missing.
    """
    return {
        "Comment": NOT_FOR_DIAGNOSIS,
        "Software": f"biomedjourney_monai {__version__}",
        "model": file_hash(weights) if Path(weights).is_file() else "",
        "precision": precision,
        **settings,
    }


def document(
    made_by: Mapping[str, Any],
    *,
    description: str,
    prompt: str = "",
    seed: int,
    prior: np.ndarray | None = None,
    region: np.ndarray | str | None = None,
    overruled: Iterable[str] = (),
    draws_nothing: bool = False,
    detail: str = "",
) -> dict[str, Any]:
    """The metadata of one picture: `provenance` and its request.

    Args:
        made_by: of `provenance`.
        description: the progression description.
        prompt: what the text encoder got; named only where it differs from the description.
        seed: of the noise.
        prior: as the model sees it, float32, shape (S, S); None without a prior.
        region: None, "auto" or a mask.
        overruled: reason codes of overruled refusals; empty ones are left out.
        draws_nothing: nothing of the description can be drawn: `drawn` is then "nothing", and there is no prompt.
        detail: how the picture got the prior's size, one of `detail.DETAILS`; "" at the model's own size.
    """
    facts = dict(made_by) if region is None else {**made_by, "region": region_name(region)}
    facts |= {"progression_description": description, "seed": int(seed)}
    if draws_nothing:
        facts["drawn"] = "nothing"
    elif prompt and prompt != description:
        facts["prompt"] = prompt
    if detail:
        facts["detail"] = detail
    if prior is not None:
        facts["prior"] = content_hash(prior)
    codes = [code for code in overruled if code]
    return {**facts, "overruled": ", ".join(codes)} if codes else facts


def content_hash(image: np.ndarray) -> str:
    """Sixteen hexadecimal digits that identify an image, float32."""
    return hashlib.sha256(np.ascontiguousarray(image, np.float32).tobytes()).hexdigest()[:16]


def region_name(region: np.ndarray | str) -> str:
    """A name that identifies a region: "auto", or the hash of a mask."""
    return region if isinstance(region, str) else f"mask {hashlib.sha256(region.tobytes()).hexdigest()[:16]}"
