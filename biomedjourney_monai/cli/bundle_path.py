"""Print the folder of the bundle that the commands use: its configs, weights and documentation."""

import argparse

from biomedjourney_monai.configuration import locate_root

EXAMPLE = "biomedjourney bundle-path"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments: none."""


def run(arguments: argparse.Namespace) -> int:
    """Run the verb."""
    print(locate_root())
    return 0
