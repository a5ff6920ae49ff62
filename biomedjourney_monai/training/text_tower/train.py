"""Render radiographs with their reports, train the small text tower on them, and probe what it understands."""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm

from biomedjourney_monai.networks.text.encoder import TextEncoder
from biomedjourney_monai.phantom.labelled import draw_labelled
from biomedjourney_monai.preparation.descriptions.progression import write_progression
from biomedjourney_monai.preparation.reports.statements import WHOLE
from biomedjourney_monai.preparation.reports.states import State, StudyState
from biomedjourney_monai.schema import FINDINGS
from biomedjourney_monai.training.text_tower.change_sentences import (
    ATTRIBUTE_CLASSES,
    NO_SIDE,
    NOT_STATED,
    SIDED,
    draw_story,
    story_targets,
    tell_story,
)
from biomedjourney_monai.training.text_tower.tower import fit_text_tower


def probe_meaning(encoder: TextEncoder, *, seed: int, texts: int = 3000, steps: int = 300) -> dict[str, float]:
    """Fit probes on two thirds of random change sentences, and score them on the others.

    A probe is linear, on the mean of the L token states or on their mean with one learned attention.

    Args:
        encoder: frozen.
        seed: of the sentences, which differ from those of `fit_text_tower` with the same seed.
        texts: number of sentences.
        steps: of fitting.

    Returns:
        For "mean" and "attention" pooling the accuracy of `…_change` (8 classes), `…_severity` and `…_side`, over all
        findings that a sentence mentions with such an attribute, and of everything that it says about a finding.
    """
    rng = np.random.default_rng([seed, 0x70726F6265])
    stories = [draw_story(rng) for _ in range(texts)]
    targets = torch.from_numpy(np.stack([story_targets(story) for story in stories]))  # (N, 15)
    told = [tell_story(rng, story) for story in stories]
    states = torch.cat([encoder.encode([text]).cpu() for text in tqdm(told, desc="probe", unit="text", mininterval=1)])
    split = texts * 2 // 3
    scores: dict[str, float] = {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for name, probe in (("mean", _MeanProbe(encoder.width)), ("attention", _AttentionProbe(encoder.width))):
            _fit(probe, states[:split], targets[:split], steps=steps)
            with torch.no_grad():
                guesses = torch.stack([part.argmax(1) for part in probe(states[split:])], dim=1)
            scores |= {f"{name}_{what}": value for what, value in _score(guesses, targets[split:]).items()}
    return scores


class _MeanProbe(nn.Module):
    """Linear on the mean over all positions, including padding, as in cross-attention without a mask."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(width, affine=False)
        self.linear = nn.Linear(width, sum(ATTRIBUTE_CLASSES))

    def forward(self, states: Tensor) -> tuple[Tensor, ...]:
        parts: tuple[Tensor, ...] = self.linear(self.norm(states.mean(1))).split(ATTRIBUTE_CLASSES, dim=1)
        return parts


class _AttentionProbe(nn.Module):
    """For each of the 15 attributes a learned query over all positions and a linear layer."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.queries = nn.Linear(width, len(ATTRIBUTE_CLASSES))
        self.linears = nn.ModuleList(nn.Linear(width, size) for size in ATTRIBUTE_CLASSES)

    def forward(self, states: Tensor) -> tuple[Tensor, ...]:
        weights = self.queries(states).softmax(1)  # (B, L, 15)
        pooled = torch.einsum("blw,bla->abw", states, weights)
        return tuple(linear(part) for linear, part in zip(self.linears, pooled))


def _fit(probe: nn.Module, states: Tensor, targets: Tensor, *, steps: int) -> None:
    optimizer = torch.optim.Adam(probe.parameters(), lr=2e-2)
    for step in range(steps):
        rows = torch.randint(len(states), (min(256, len(states)),))
        losses = [functional.cross_entropy(part, target) for part, target in zip(probe(states[rows]), targets[rows].T)]
        for group in optimizer.param_groups:
            group["lr"] = 2e-2 * (1 - step / steps)
        optimizer.zero_grad()
        torch.stack(losses).sum().backward()
        optimizer.step()
    probe.eval()


def _score(guesses: Tensor, targets: Tensor) -> dict[str, float]:
    """Compare guesses with targets, both of shape (N, 15)."""
    right = (guesses == targets).view(len(targets), len(FINDINGS), 3)
    status, left, right_side = targets.view(len(targets), len(FINDINGS), 3).unbind(2)
    guessed_left, guessed_right = guesses.view(len(targets), len(FINDINGS), 3)[..., 1:].unbind(2)
    is_mentioned, has_severity = status > 0, torch.maximum(left, right_side) > 0
    is_sided = has_severity & torch.tensor([finding not in ("Cardiomegaly", "Edema") for finding in FINDINGS])
    same_side = ((guessed_left > 0) == (left > 0)) & ((guessed_right > 0) == (right_side > 0))
    same_side &= (guessed_right == NO_SIDE) == (right_side == NO_SIDE)
    return {
        "change": float(right[..., 0][is_mentioned].float().mean()),
        "severity": float((right[..., 1] & right[..., 2])[has_severity].float().mean()),
        "side": float(same_side[is_sided].float().mean()),
        "all_of_a_finding": float(right.all(2).float().mean()),
    }


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
