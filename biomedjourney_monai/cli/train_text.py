"""Train the small text tower that the demo model reads descriptions with.

Renders phantom radiographs with their reports and trains an open_clip model on them, from scratch: a BERT of four
layers with a vocabulary of its own, and a small image transformer. Writes a folder in the layout of BiomedCLIP, so that
both load alike. A model that was trained with one tower does not work with another: train it again after this.
"""

from __future__ import annotations

import argparse
import re

EXAMPLE = "biomedjourney train-text --out bundle/models/text_tower --seed 0 --images 600 --steps 800"

_SECTION = re.compile(r"^ ?([A-Z][A-Z ()/,-]*):", re.MULTILINE)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add this verb's arguments."""
    parser.add_argument("--out", default="bundle/models/text_tower", help="folder to write (default: %(default)s)")
    parser.add_argument(
        "--seed", type=int, default=0, help="decides the images and the training (default: %(default)s)"
    )
    parser.add_argument("--images", type=int, default=600, help="radiographs to render (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=800, help="training steps (default: %(default)s)")
    parser.add_argument("--processes", type=int, default=None, help="rendering processes (default: all cores)")


def run(args: argparse.Namespace) -> int:
    """Render, train, probe, print the figures."""
    from biomedjourney_monai.networks.text.encoder import TextEncoder
    from biomedjourney_monai.phantom.labelled import draw_labelled
    from biomedjourney_monai.training.text_tower.probe import probe_meaning
    from biomedjourney_monai.training.text_tower.tower import train_text_tower

    labelled = draw_labelled(args.images, seed=args.seed, size=128, processes=args.processes)
    texts = [reported_texts(report) for report in labelled.reports]
    figures = train_text_tower(labelled.images, texts, out=args.out, seed=args.seed, steps=args.steps)
    probed = probe_meaning(TextEncoder.from_folder(args.out), seed=args.seed)
    print(
        f"held-out pairs {figures['pairs']:.0f}: recall@1 {figures['recall_at_1']:.3f}, "
        f"recall@10 {figures['recall_at_10']:.3f}, median rank {figures['median_rank']:.0f}"
    )
    print("linear probe of held-out sentences: " + ", ".join(f"{name} {value:.3f}" for name, value in probed.items()))
    print(f"wrote {args.out}")
    return 0


def reported_texts(report: str) -> list[str]:
    """Return what a report says of the image: impression and findings section, or the last paragraph of neither.

    Returns:
        One or more texts, each on one line; the impression first.
    """
    parts = _SECTION.split(report)
    sections = dict(zip(parts[1::2], parts[2::2]))
    wanted = [
        text
        for word in ("IMPRESSION", "CONCLUSION", "FINDINGS")
        for name, text in sections.items()
        if name.startswith(word) or name == f"FINDINGS AND {word}"
    ]
    paragraphs = re.split(r"\n\s*\n", report.strip())
    texts = [" ".join(text.split()) for text in [*wanted, *([] if wanted else paragraphs[-1:])]]
    return list(dict.fromkeys(text for text in texts if text)) or [" ".join(report.split())]
