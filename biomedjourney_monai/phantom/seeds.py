"""Independent named random streams from one seed, so that adding one choice does not change the others."""

import hashlib

import numpy as np


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


def scatter_id(position: int, *, key: int, digits: int) -> int:
    """Map a running number in [0, 10**digits) to a random-looking one in the same range, one to one.

    A Feistel network on the next even number of bits, repeated until the result is in range; `key` is the permutation.
    """
    count = 10**digits
    if not 0 <= position < count:
        raise ValueError(f"position must be in [0, {count}); found {position}")
    half_bits = (count.bit_length() + 1) // 2
    mask = (1 << half_bits) - 1
    value = position
    while True:
        left, right = value >> half_bits, value & mask
        for turn in range(4):
            left, right = right, left ^ (_mix(right, key + turn * 0x9E3779B97F4A7C15) & mask)
        value = left << half_bits | right
        if value < count:
            return value


def _mix(half: int, key: int) -> int:
    """Hash a small number to 64 bits (splitmix64's finaliser)."""
    z = (half * 0xBF58476D1CE4E5B9 + key) & 0xFFFFFFFFFFFFFFFF
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
    return z ^ (z >> 31)
