"""What a picture says of how it was made: the same words whichever way it was asked for."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from biomedjourney_monai import __version__
from biomedjourney_monai.files import file_hash

if TYPE_CHECKING:
    import numpy as np


def provenance(generator: Any, model_file: str | Path, *, region: Any = None) -> dict[str, Any]:
    """What made a picture: the mark, the software, the model and its settings.

    Args:
        generator: of `diffusion.controls.control`.
        model_file: its weights; a file that is not there is named "".
        region: None, "auto" or a mask.
    """
    from biomedjourney_monai.radiographs import NOT_FOR_DIAGNOSIS

    facts = {
        "Comment": NOT_FOR_DIAGNOSIS,
        "Software": f"biomedjourney_monai {__version__}",
        "model": file_hash(model_file) if Path(model_file).is_file() else "",
        "precision": getattr(generator.denoiser, "precision", "float32"),
        **generator.sampler.settings(),
    }
    return facts if region is None else {**facts, "region": region_name(region)}


def request_facts(
    made_by: Mapping[str, Any], *, description: str, seed: int, prior: np.ndarray, overruled: tuple[str, ...] = ()
) -> dict[str, Any]:
    """`provenance`, and what was asked for.

    Args:
        made_by: of `provenance`.
        description: the progression description.
        seed: of the noise.
        prior: the prior as the model sees it, float32, shape (S, S).
        overruled: reason codes of refusals that were overruled; empty ones are passed over.
    """
    facts = {**made_by, "progression_description": description, "seed": int(seed), "prior": content_hash(prior)}
    codes = [code for code in overruled if code]
    return {**facts, "overruled": ", ".join(codes)} if codes else facts


def content_hash(image: np.ndarray) -> str:
    """Sixteen hexadecimal digits that tell an image, float32, from others."""
    import numpy as np

    return hashlib.sha256(np.ascontiguousarray(image, np.float32).tobytes()).hexdigest()[:16]


def region_name(region: Any) -> str:
    """What tells a region from others: "auto", or the hash of a mask."""
    return region if isinstance(region, str) else f"mask {hashlib.sha256(region.tobytes()).hexdigest()[:16]}"
