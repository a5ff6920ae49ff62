"""`biomedjourney VERB …`: finds the verb's module, parses its arguments, runs it, prints errors as one line."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

from biomedjourney_monai import __version__
from biomedjourney_monai.errors import BiomedJourneyError

VERBS = {
    "phantom": "render a cohort of patients with a known truth, as MIMIC-CXR-JPG and MIMIC-IV files",
    "cohort": "find eligible studies                           -> studies.parquet",
    "journeys": "pair consecutive studies of one patient         -> journeys.parquet",
    "register": "align each new image to its prior, and score it -> pairs.parquet, images/",
    "describe": "write what changed between two reports          -> triples.jsonl, singles.jsonl",
    "encode": "encode images and descriptions                  -> latents/",
    "train": "train the model: pretrain, then finetune        -> runs/",
    "sample": "make a counterfactual radiograph                -> samples/, or one file",
    "ladder": "show one patient at several rungs of a disease  -> strip, animation, series",
    "pacs": "make counterfactuals of an archive's radiographs -> new series in the archive",
    "app": "serve the web page, on this machine           -> a page in the browser",
    "tune": "search the guidance scales                      -> tune/",
    "evaluate": "score counterfactuals against references        -> metrics.json",
    "ablation": "train and score a grid of settings              -> ablation.json, ablation.md",
    "report": "write one HTML page of tables and pictures      -> report/index.html",
    "check-autoencoder": "score an autoencoder's reconstructions, as a gate",
    "train-judges": "train the small judges on rendered images",
    "train-text": "train the small text tower on rendered images and reports",
    "import-weights": "turn a model of CompVis, diffusers or monai-generative into a model file",
    "export-weights": "write a model file as a diffusers folder",
    "demo": "run every stage once on a small rendered cohort",
}


def build_parser() -> argparse.ArgumentParser:
    """Build the parser that lists the verbs; each verb adds its own arguments when it is chosen."""
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
    """Run one verb. Returns the exit status: 0, 2 for a mistake of the user's, 130 for an interrupt.

    Args:
        arguments: without the program's name; None takes the command line, and the process is then the verb's own.
    """
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
    try:
        return module.run(parser.parse_args(arguments[1:])) or 0
    except BiomedJourneyError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:  # its own text would name the file, and a file's name may tell of a patient
        reason = error.strerror or type(error).__name__
        print(f"error: {reason}. Check the paths on the command line, and rights and space to write.", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; run the same command again to go on", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
