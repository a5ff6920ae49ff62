"""Import MONAI in half the time, without the libraries that it imports for optional features."""

from __future__ import annotations

import argparse
import gc
import sys

UNUSED = ("mlflow", "transformers")
"""Imported by MONAI only for its MLflow handler and its network Transchex; they take two seconds."""


def import_monai_quickly(arguments: argparse.Namespace) -> None:
    """Import MONAI without `UNUSED`, and without garbage collection, which finds nothing in imported modules.

    Both can be imported afterwards, but MONAI's own MLFlowHandler has no library then. So this does nothing unless the
    process belongs to the command (`own_process`, set by `cli.main`), or if MONAI is already imported.
    """
    if not getattr(arguments, "own_process", False) or "monai" in sys.modules:
        return
    left_out = [name for name in UNUSED if name not in sys.modules]
    gc.disable()
    try:
        for name in left_out:
            sys.modules[name] = None  # type: ignore[assignment]  # makes the import fail
        import monai  # noqa: F401
    finally:
        for name in left_out:
            del sys.modules[name]
        gc.freeze()  # so that the end of the process does not scan them again
        gc.enable()
