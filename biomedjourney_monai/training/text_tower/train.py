"""Render radiographs with their reports, train the small text tower on them, and probe what it understands."""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from biomedjourney_monai.networks.text.encoder import TextEncoder
from biomedjourney_monai.phantom.labelled import draw_labelled
from biomedjourney_monai.preparation.descriptions.progression import write_progression
from biomedjourney_monai.preparation.reports.statements import WHOLE
from biomedjourney_monai.preparation.reports.states import State, StudyState
from biomedjourney_monai.schema import FINDINGS
from biomedjourney_monai.training.text_tower.change_sentences import NO_SIDE, NOT_STATED, SIDED, draw_story
from biomedjourney_monai.training.text_tower.probe import probe_meaning
from biomedjourney_monai.training.text_tower.tower import fit_text_tower

KEPT_TEXTS, ONLY_CHANGES = 4000, 0.4
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
    start_from: str | Path | None = None,
) -> TrainedTextTower:
    """Train the small text tower. A model that was trained with one tower does not work with another.

    Args:
        out: folder to write, in BiomedCLIP's layout.
        seed: of the images and the training.
        images: radiographs to render, at least 8.
        steps: optimiser steps.
        processes: that render; None for all cores.
        start_from: folder of an earlier tower that this one continues; training descriptions keep its token states, so
            that a model trained with it can be trained on. None trains from scratch.

    Raises:
        ConfigError: if a number is too small, or the earlier tower does not fit.
    """
    labelled = draw_labelled(images, seed=seed, size=128, processes=processes)
    texts = [reported_texts(report) for report in labelled.reports]
    kept = [] if start_from is None else draw_descriptions(np.random.default_rng([seed, KEPT_TEXTS]), KEPT_TEXTS)
    kept += [text for choice in texts for text in choice] if kept else []
    figures = fit_text_tower(
        labelled.images, texts, out=out, seed=seed, steps=steps, start_from=start_from, kept_texts=kept
    )
    return TrainedTextTower(Path(out), figures, probe_meaning(TextEncoder.from_folder(out), seed=seed))


def draw_descriptions(rng: np.random.Generator, count: int) -> list[str]:
    """Draw training descriptions between random studies, in the words of the rule-based writer."""
    return [
        write_progression(_draw_state(rng), _draw_state(rng), rng=rng, only_changes=bool(rng.random() < ONLY_CHANGES))
        for _ in range(count)
    ]


def _draw_state(rng: np.random.Generator) -> StudyState:
    findings = {}
    for finding, change in draw_story(rng).items():
        sides = {"left": change.left, "right": change.right} if finding in SIDED else {WHOLE: change.left}
        severities = {side: severity for side, severity in sides.items() if severity}
        if NO_SIDE in severities.values():
            severities = {WHOLE: change.left}
        if severities:
            known = {side: 0 if severity == NOT_STATED else severity for side, severity in severities.items()}
            findings[finding] = State(known)
    denied = tuple(finding for finding in FINDINGS if finding not in findings)
    return StudyState(findings, denied=denied)


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
