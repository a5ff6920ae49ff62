"""One seed, many independent streams: every random choice is named, so no choice moves when another is added."""

from __future__ import annotations

import hashlib

import numpy as np

ID_COUNT = 10_000_000
"""How many identifiers share a leading digit: eight digits, the first fixed."""

_HALF_BITS = 12
_HALF_MASK = (1 << _HALF_BITS) - 1


def derive_seed(seed: int, *names: str | int) -> int:
    """Return the seed of a named stream, in [0, 2**63).

    Example:
        >>> derive_seed(7, "patient", 3) == derive_seed(7, "patient", 3) != derive_seed(7, "patient", 4)
        True
    """
    key = "/".join(map(str, (seed, *names))).encode()
    return int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "big") >> 1


def derive_rng(seed: int, *names: str | int) -> np.random.Generator:
    """Return the random generator of a named stream."""
    return np.random.Generator(np.random.PCG64(derive_seed(seed, *names)))


def scatter_id(position: int, *, key: int) -> int:
    """Map a running number to a random-looking number, one to one.

    Args:
        position: in [0, 10**7).
        key: names the permutation.

    Returns:
        A number in [0, 10**7). A Feistel network on 24 bits, repeated until the result is in range.

    Raises:
        ValueError: if the position is out of range.
    """
    if not 0 <= position < ID_COUNT:
        raise ValueError(f"position must be in [0, {ID_COUNT}); found {position}")
    value = position
    while True:
        left, right = value >> _HALF_BITS, value & _HALF_MASK
        for turn in range(4):
            left, right = right, left ^ _mix(right, key + turn * 0x9E3779B97F4A7C15)
        value = left << _HALF_BITS | right
        if value < ID_COUNT:
            return value


def _mix(half: int, key: int) -> int:
    """Hash 12 bits to 12 bits (splitmix64's finaliser)."""
    z = (half * 0xBF58476D1CE4E5B9 + key) & 0xFFFFFFFFFFFFFFFF
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
    return (z ^ (z >> 31)) & _HALF_MASK
