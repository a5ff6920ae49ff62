"""Average model files: the mean of each weight, for files of one training run or of runs from the same start.

    python scripts/average_weights.py run1/finetune/model.pt run2/finetune/model.pt --out model.pt

The mean of two trainings from one start is often better than either (Wortsman et al. 2022, Model soups). The files must
have the same tensors and the same autoencoder. The facts in the result are those of the last file, and `mean_of` lists
the SHA-256 of all. Whether the mean is better must be measured, on validation patients.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from biomedjourney_monai.errors import BiomedJourneyError, WeightsError
from biomedjourney_monai.networks.weights.model_file import load_tensors, save_tensors, weights_hash

AUTOENCODER = "autoencoder."


def average(states: Sequence[Mapping[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """The mean of each floating-point tensor, in its stored type; other tensors are the first file's.

    Raises:
        WeightsError: if names, shapes or the autoencoder differ.
    """
    first = states[0]
    for state in states[1:]:
        differs = sorted(set(first) ^ set(state)) or [name for name in first if first[name].shape != state[name].shape]
        if differs:
            raise WeightsError(
                "all files must hold the same tensors",
                found=f"{differs[0]} differs",
                action="Pass files of one geometry",
            )
        if any(not torch.equal(first[name], state[name]) for name in first if name.startswith(AUTOENCODER)):
            raise WeightsError(
                "all files must have one autoencoder", found="two", action="Pass files trained on the same latents"
            )
    return {
        name: torch.stack([state[name].double() for state in states]).mean(dim=0).to(value.dtype)
        if value.is_floating_point() and not name.startswith(AUTOENCODER)
        else value
        for name, value in first.items()
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Read, average and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="+", help="model files")
    parser.add_argument("--out", type=Path, required=True, help="the file to write")
    arguments = parser.parse_args(argv)
    try:
        loaded = [load_tensors(file) for file in arguments.files]
        info = loaded[-1][1] | {"mean_of": [weights_hash(file) for file in arguments.files]}
        save_tensors(arguments.out, average([state for state, _ in loaded]), info=info, half=True, flat=True)
    except BiomedJourneyError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"wrote {arguments.out}: the mean of {len(loaded)} files")
    return 0


if __name__ == "__main__":
    sys.exit(main())
