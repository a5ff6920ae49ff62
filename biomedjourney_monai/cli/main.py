"""`biomedjourney VERB ...`: run the module of the verb, and print its errors as one line."""

import argparse
import errno
import importlib
import io
import os
import select
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from biomedjourney_monai import __version__
from biomedjourney_monai.configuration import is_bundle, locate_root
from biomedjourney_monai.errors import BiomedJourneyError, MissingPackageError, SettingError

VERBS = {
    "phantom": "render patients with a known truth, as MIMIC-CXR-JPG and MIMIC-IV files",
    "cohort": "find eligible studies                           -> studies.parquet",
    "journeys": "pair consecutive studies of one patient         -> journeys.parquet",
    "register": "align each new image to its prior, and score it -> pairs.parquet, images/",
    "describe": "write what changed between two reports          -> triples.jsonl, singles.jsonl",
    "encode": "encode images and descriptions                  -> latents/",
    "train": "train the model: pretrain, then finetune        -> runs/",
    "sample": "make a counterfactual radiograph                -> samples/, or one file",
    "ladder": "show one patient at several degrees of disease  -> strip, animation, series",
    "pacs": "make counterfactuals of an archive's studies    -> new series in the archive",
    "app": "serve the web page on this machine              -> a page in the browser",
    "tune": "search the guidance scales                      -> tune/",
    "evaluate": "score counterfactuals against references        -> metrics.json",
    "ablation": "train and score a grid of settings              -> ablation.json, ablation.md",
    "report": "write one HTML page of tables and pictures      -> report/index.html",
    "check-autoencoder": "score an autoencoder's reconstructions against limits",
    "train-judges": "train the small judges on rendered images",
    "train-outlines": "train the outlines of lung fields and heart",
    "train-text": "train the small text tower on rendered images and reports",
    "import-weights": "convert a model of CompVis, diffusers or monai-generative to a model file",
    "export-weights": "write a model file as a diffusers folder",
    "bundle-path": "print the bundle's folder, for `python -m monai.bundle run`",
    "demo": "run every stage once on a small rendered cohort",
}


def build_parser() -> argparse.ArgumentParser:
    """Build the parser that lists the verbs. The arguments of a verb are added by its own module."""
    parser = argparse.ArgumentParser(
        prog="biomedjourney",
        description="Counterfactual chest radiographs from a prior image and a progression description.",
        epilog="verbs:\n"
        + "\n".join(f"  {verb:18} {summary}" for verb, summary in VERBS.items())
        + "\n\nexample:\n  biomedjourney sample --help",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"biomedjourney {__version__}")
    parser.add_argument("verb", choices=list(VERBS), metavar="VERB", help="one of the verbs below")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb, and end it in one line.

    Args:
        arguments: without the program's name. None takes the command line; the process then ends with the verb.

    Returns:
        The exit status: 0 for success, 2 for an error of the user, 130 for an interrupt, 141 if nobody reads the
        output any more.
    """
    try:
        if arguments is None:
            _replace_unknown_characters()
        try:
            return _run(arguments)
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()
    except BiomedJourneyError as error:
        message = str(error.as_option() if isinstance(error, SettingError) else error)
    except ImportError as error:
        missing = MissingPackageError.of(error)
        if missing is None:
            raise
        message = str(missing)
    except OSError as error:  # its text holds the file name, which may identify a patient
        if isinstance(error, BrokenPipeError) and _nobody_reads():
            _discard_output()
            return 141
        reason = error.strerror or type(error).__name__
        message = f"{reason}. Check the paths on the command line, the permissions and the disk space."
        if error.errno == errno.ENOSPC:
            _discard_output()
    except KeyboardInterrupt:
        print("interrupted; run the same command again to continue", file=sys.stderr)
        return 130
    print(f"error: {message}", file=sys.stderr)
    return 2


def _run(arguments: Sequence[str] | None) -> int:
    own_process = arguments is None
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    verb = build_parser().parse_args(arguments[:1] or ["--help"]).verb
    module = importlib.import_module(f"biomedjourney_monai.cli.{verb.replace('-', '_')}")
    parser = argparse.ArgumentParser(
        prog=f"biomedjourney {verb}",
        description=module.__doc__,
        epilog=f"example:\n  {module.EXAMPLE}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(own_process=own_process)
    module.configure(parser)
    parsed = parser.parse_args(arguments[1:])
    if "bundle" in parsed:
        _name_bundle(parsed.bundle)
    return module.run(parsed) or 0


def _name_bundle(given: str | None) -> None:
    """Say when a bundle other than the installed one is used, or lies here unused: its configs are code."""
    here = Path.cwd()
    for folder in [Path(given)] if given else [here, here / "bundle"]:
        if is_bundle(folder) and not folder.samefile(locate_root()):
            said = "this command runs the code in its configs" if given else "not used; pass --bundle to run its code"
            print(f"note: {given or folder.relative_to(here.parent)} is a bundle: {said}", file=sys.stderr)


def _replace_unknown_characters() -> None:
    """Print "?" for a character that the terminal's encoding lacks, where Python would raise an error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="replace")


def _nobody_reads() -> bool:
    """Whether standard output is a pipe that its reader closed; a broken pipe may also be one between processes."""
    try:
        poll = select.poll()
        poll.register(sys.stdout.fileno(), select.POLLOUT)
        return any(event & select.POLLERR for _, event in poll.poll(0))
    except (AttributeError, OSError, ValueError):  # no such call, no such stream
        return True


def _discard_output() -> None:
    """Discard what is still buffered, so that Python does not try to write it at its end."""
    with suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())
