"""Import the parts of MONAI that a command needs, in a third of the time that all of it takes."""

import argparse
import gc
import pkgutil
import sys

UNUSED: tuple[str, ...] = ("transformers", "torchvision", "matplotlib", "ignite", "skimage", "pandas", "nibabel", "itk")
UNUSED += ("scipy.signal", "scipy.stats")
"""Imported by MONAI only for features that sample, ladder, app and pacs do not use; they take two seconds."""


def import_monai_quickly(arguments: argparse.Namespace) -> None:
    """Import MONAI without `UNUSED`, without the submodules that nothing names, and without garbage collection.

    All can be imported afterwards, but MONAI's own classes that build on `UNUSED` have no library then. So this does
    nothing unless the process belongs to the command (`own_process`, set by `cli.main`), or if MONAI is already there.
    """
    if not getattr(arguments, "own_process", False) or "monai" in sys.modules:
        return
    left_out, walk = [name for name in UNUSED if name not in sys.modules], pkgutil.walk_packages
    gc.disable()
    try:
        for name in left_out:
            sys.modules[name] = None  # type: ignore[assignment]  # makes the import fail
        pkgutil.walk_packages = lambda *_, **__: iter(())  # MONAI lists its submodules by it, to import them all
        import monai.apps  # first, as MONAI does: in another order its packages import each other in a circle
        import monai.bundle
        import monai.inferers
        import monai.utils.module

        monai.utils.module.walk_packages = walk
    finally:
        pkgutil.walk_packages = walk
        for name in left_out:
            del sys.modules[name]
        gc.freeze()  # so that the end of the process does not scan them again
        gc.enable()
