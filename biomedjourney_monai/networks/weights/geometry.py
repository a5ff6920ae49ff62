"""The geometry of a model: the sizes and epsilons of its networks, and its noise schedule.

Names and shapes of tensors do not show the number of attention heads, an epsilon or what a denoiser predicts; a network
of another geometry can load the tensors and compute something else. A model file therefore contains its geometry.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any

from monai.networks.schedulers import Scheduler
from torch import Tensor, nn

from biomedjourney_monai.errors import WeightsError

GEOMETRY_KEY, HASH_KEY = "geometry", "config_hash"
UNKNOWN = "(absent)"


def geometry_of(**parts: nn.Module) -> dict[str, dict[str, Any]]:
    """Describe networks and a noise schedule, by name, as JSON content.

    Args:
        parts: a network with an attribute `geometry` is described by it, a noise schedule by its values, another
            network by the name of its class.
    """
    geometry: dict[str, dict[str, Any]] = {name: _describe(part) for name, part in parts.items()}
    geometry = json.loads(json.dumps(geometry))
    return geometry


def geometry_facts(**parts: nn.Module) -> dict[str, Any]:
    """The facts of a weights file that describe its networks: `geometry_of` them, and its hash."""
    geometry = geometry_of(**parts)
    return {GEOMETRY_KEY: geometry, HASH_KEY: geometry_hash(geometry)}


def geometry_hash(geometry: Mapping[str, Any]) -> str:
    """SHA-256 of a geometry, 64 hexadecimal digits."""
    return hashlib.sha256(json.dumps(geometry, sort_keys=True).encode()).hexdigest()


def geometry_differences(found: Mapping[str, Any], expected: Mapping[str, Any]) -> list[str]:
    """List the keys that differ, of the parts that both describe; numbers may differ by one part in ten thousand."""
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
        info: the facts of the weights file; without a geometry, as in older files, nothing is checked.
        expected: `geometry_of` the networks that the weights are loaded into.
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
            action="Add the overlay that it was made with (--overlay FILE, or the last of --config_file), or pass "
            "another model file",
        )


def signal_facts(alphas_cumprod: Tensor, prediction_type: str) -> dict[str, Any]:
    """Describe a noise schedule by the share of signal at three timesteps and by the prediction type."""
    places = {"first": 0, "middle": len(alphas_cumprod) // 2, "last": -1}
    return {
        "prediction_type": str(prediction_type),
        "num_train_timesteps": len(alphas_cumprod),
        **{f"alphas_cumprod.{name}": float(f"{float(alphas_cumprod[place]):.6g}") for name, place in places.items()},
    }


def _describe(part: nn.Module) -> dict[str, Any]:
    geometry: Any = getattr(part, "geometry", None)
    if geometry is not None:
        return dict(geometry)
    if isinstance(part, Scheduler):
        return signal_facts(part.alphas_cumprod, str(part.prediction_type))
    return {"class": type(part).__name__}


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_equal, one, other))
    if all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in (one, other)):
        return math.isclose(one, other, rel_tol=1e-4)
    return type(one) is type(other) and bool(one == other)
