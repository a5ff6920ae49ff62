"""What the numbers of a weights file mean: the sizes and epsilons of its networks, and the noise they were trained on.

Names and shapes of tensors do not tell the number of attention heads, an epsilon or what a denoiser predicts; a network
of another geometry can load the tensors and compute something else. So a model file carries its geometry and its hash.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor, nn

from biomedjourney_monai.errors import WeightsError

GEOMETRY_KEY, HASH_KEY = "geometry", "config_hash"
UNKNOWN = "(absent)"


def geometry_of(**parts: nn.Module) -> dict[str, dict[str, Any]]:
    """Describe networks, and a noise schedule, by name.

    Args:
        parts: networks. One with an attribute `geometry` is described by it, a noise schedule by its values, any other
            by the name of its class alone.

    Returns:
        By part: numbers, strings and lists that JSON can hold.
    """
    return json.loads(json.dumps({name: _describe(part) for name, part in parts.items()}))


def geometry_hash(geometry: Mapping[str, Any]) -> str:
    """SHA-256 of a geometry, 64 hexadecimal digits."""
    return hashlib.sha256(json.dumps(geometry, sort_keys=True).encode()).hexdigest()


def geometry_differences(found: Mapping[str, Any], expected: Mapping[str, Any]) -> list[str]:
    """Say which keys differ, of the parts that both describe; numbers are equal within one part in ten thousand."""
    differences = []
    for part in (name for name in expected if name in found):
        one, other = found[part], expected[part]
        same_class = one.get("class") == other.get("class")
        for key in dict.fromkeys([*other, *one]) if same_class else ["class"]:
            a, b = one.get(key, UNKNOWN), other.get(key, UNKNOWN)
            if not _equal(a, b):
                differences.append(f"{part}#{key} {a} instead of {b}")
    return differences


def require_same_geometry(info: Mapping[str, Any], expected: Mapping[str, Any], *, file: str) -> None:
    """Refuse weights of another geometry.

    Args:
        info: the facts beside the weights; without a geometry, as older files are, nothing is checked.
        expected: `geometry_of` the networks that the weights are for.
        file: name of the file, for the error.

    Raises:
        WeightsError: naming every key of the configuration that differs.
    """
    found = info.get(GEOMETRY_KEY)
    differences = geometry_differences(found, expected) if isinstance(found, Mapping) else []
    if differences:
        raise WeightsError(
            f"{file} must be loaded with the configuration it was made with",
            found="; ".join(differences),
            action="Lay the overlay that it was made with over the configuration (--overlay FILE, or the last of "
            "--config_file), or pass another model file",
        )


def signal_facts(alphas_cumprod: Tensor, prediction_type: str) -> dict[str, Any]:
    """Describe a noise schedule by the share of the signal at three timesteps, and by what is predicted."""
    places = {"first": 0, "middle": len(alphas_cumprod) // 2, "last": -1}
    return {
        "prediction_type": str(prediction_type),
        "num_train_timesteps": len(alphas_cumprod),
        **{f"alphas_cumprod.{name}": float(f"{float(alphas_cumprod[place]):.6g}") for name, place in places.items()},
    }


def _describe(part: nn.Module) -> dict[str, Any]:
    if hasattr(part, "geometry"):
        return dict(part.geometry)
    if hasattr(part, "alphas_cumprod") and hasattr(part, "prediction_type"):
        return signal_facts(part.alphas_cumprod, part.prediction_type)
    return {"class": type(part).__name__}


def _equal(one: Any, other: Any) -> bool:
    one, other = list(_leaves(one)), list(_leaves(other))
    return len(one) == len(other) and all(map(_equal_leaf, one, other))


def _equal_leaf(one: Any, other: Any) -> bool:
    if all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in (one, other)):
        return math.isclose(one, other, rel_tol=1e-4)
    return type(one) is type(other) and one == other


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, (list, tuple)):
        for item in value:
            yield from _leaves(item)
    else:
        yield value
