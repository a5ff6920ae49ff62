"""Half the time from a command to its first picture: MONAI without what it imports for others."""

from __future__ import annotations

import argparse
import gc
import sys

UNUSED = ("mlflow", "transformers")
"""What `import monai` imports besides, for its handler of MLflow and its network Transchex: two seconds."""


def import_monai_quickly(arguments: argparse.Namespace) -> None:
    """Import MONAI, without `UNUSED` and without the garbage collector, which finds nothing in imported modules.

    Afterwards both can be imported as ever, but MONAI's own MLFlowHandler stays without its library. So this does
    nothing unless the process is a command's own (`own_process`, which `cli.main` sets) and ends with it; and nothing
    once MONAI is there.
    """
    if not getattr(arguments, "own_process", False) or "monai" in sys.modules:
        return
    left_out = [name for name in UNUSED if name not in sys.modules]
    gc.disable()
    try:
        sys.modules.update(dict.fromkeys(left_out))  # None: the import system's word for "not to be had"
        import monai  # noqa: F401
    finally:
        for name in left_out:
            del sys.modules[name]
        gc.freeze()  # nor does the end of the process look through them again
        gc.enable()
