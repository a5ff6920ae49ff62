"""Render radiographs with their reports, train the small text tower on them, and probe what it understands."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from biomedjourney_monai.networks.text.encoder import TextEncoder
from biomedjourney_monai.phantom.labelled import draw_labelled
from biomedjourney_monai.training.text_tower.probe import probe_meaning
from biomedjourney_monai.training.text_tower.tower import fit_text_tower

SECTION = re.compile(r"^ ?([A-Z][A-Z ()/,-]*):", re.MULTILINE)


@dataclass(frozen=True)
class TrainedTextTower:
    """The tower's folder, its figures (see `fit_text_tower`) and what probes read from it (see `probe_meaning`)."""

    folder: Path
    figures: dict[str, float]
    probed: dict[str, float]


def train_text_tower(
    out: str | Path = "bundle/models/text_tower",
    *,
    seed: int = 0,
    images: int = 600,
    steps: int = 800,
    processes: int | None = None,
) -> TrainedTextTower:
    """Train the small text tower from scratch. A model that was trained with one tower does not work with another.

    Args:
        out: folder to write, in BiomedCLIP's layout.
        seed: of the images and the training.
        images: radiographs to render, at least 8.
        steps: optimiser steps.
        processes: that render; None for all cores.

    Raises:
        ConfigError: if a number is too small.
    """
    labelled = draw_labelled(images, seed=seed, size=128, processes=processes)
    texts = [reported_texts(report) for report in labelled.reports]
    figures = fit_text_tower(labelled.images, texts, out=out, seed=seed, steps=steps)
    return TrainedTextTower(Path(out), figures, probe_meaning(TextEncoder.from_folder(out), seed=seed))


def reported_texts(report: str) -> list[str]:
    """What a report says about the image: impression and findings section, or the last paragraph without either.

    Returns:
        One or more texts, each on one line; the impression first.
    """
    parts = SECTION.split(report)
    sections = dict(zip(parts[1::2], parts[2::2]))
    wanted = [
        text
        for word in ("IMPRESSION", "CONCLUSION", "FINDINGS")
        for name, text in sections.items()
        if name.startswith(word) or name == f"FINDINGS AND {word}"
    ]
    paragraphs = re.split(r"\n\s*\n", report.strip())
    texts = [" ".join(text.split()) for text in wanted or paragraphs[-1:]]
    return list(dict.fromkeys(text for text in texts if text)) or [" ".join(report.split())]
