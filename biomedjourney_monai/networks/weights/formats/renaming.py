"""Rename tensors by pairs of dotted names, in either direction."""

import re
from collections.abc import Callable, Mapping, Sequence

from torch import Tensor

from biomedjourney_monai.errors import WeightsError

StateDict = dict[str, Tensor]


def renamer(pairs: Sequence[tuple[str, str]], *, backward: bool = False) -> Callable[[str], str]:
    """Make a function that renames whole parts of a dotted name, all pairs at once.

    Args:
        pairs: (from, to), each one or more whole parts such as `to_out.0`; a longer one wins over a shorter.
        backward: rename from second to first.

    Example:
        >>> renamer([("conv1", "conv1.conv"), ("to_out.0", "out_proj")])("block.conv1.weight")
        'block.conv1.conv.weight'
    """
    table = {b: a for a, b in pairs} if backward else dict(pairs)
    longest_first = sorted(table, key=len, reverse=True)
    pattern = re.compile(rf"(?<![^.])(?:{'|'.join(map(re.escape, longest_first))})(?![^.])")
    return lambda name: pattern.sub(lambda match: table[match.group()], name)


def rename_all(state: Mapping[str, Tensor], rename: Callable[[str], str], *, of: str) -> StateDict:
    """Rename every tensor.

    Raises:
        WeightsError: if two tensors get the same name, so that the weights are not what `of` says.
    """
    renamed: StateDict = {}
    for name, value in state.items():
        new = rename(name)
        if new in renamed:
            raise WeightsError(
                f"weights must be {of}", found=f"two tensors for {new}", action="Check the format and the source"
            )
        renamed[new] = value
    return renamed
