"""Load the generator of a bundle folder, for the verbs that need it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from biomedjourney_monai.configuration import compose, locate_root
from biomedjourney_monai.errors import WeightsError


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Which bundle, which weights."""
    parser.add_argument("--bundle", metavar="DIR", help="the bundle's folder (default: found from here)")
    parser.add_argument("--model", metavar="FILE", help="model file (default: models/model.pt of the bundle)")


def bundle_folder(arguments: argparse.Namespace) -> Path:
    """The bundle's folder."""
    return Path(arguments.bundle) if arguments.bundle else Path(locate_root())


def model_file(arguments: argparse.Namespace) -> Path:
    """The model file."""
    return Path(arguments.model) if arguments.model else bundle_folder(arguments) / "models" / "model.pt"


def load_generator(arguments: argparse.Namespace, **sampler: Any) -> Any:
    """Build the generator of `common.yaml` and load its weights.

    Args:
        sampler: overrides of the sampler section; None leaves the config's value.

    Raises:
        WeightsError: if the weights are missing or do not fit.
    """
    root = bundle_folder(arguments)
    if not (root / "configs" / "common.yaml").is_file():
        raise WeightsError(
            f"{root} must be a bundle folder", found="no configs/common.yaml in it", action="Pass --bundle DIR"
        )
    changes = {key: value for key, value in sampler.items() if value is not None}
    parser = compose(root / "configs" / "common.yaml", {"bundle_root": str(root), "sampler": changes})
    generator = parser.get_parsed_content("generator")
    generator.load(model_file(arguments))
    return generator.eval()
