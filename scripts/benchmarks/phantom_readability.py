"""Measure whether a small classifier can read the phantom's traits (about ten minutes).

    python scripts/benchmarks/phantom_readability.py

1,000 patients × 3 visits train a small network for 1,000 steps at 128 × 128; 250 other patients test it. A trait that
it cannot read is drawn too faintly. The last line is JSON: {"figures": {...}, "bars": {...}}.
"""

from __future__ import annotations

import argparse
import json
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

os.environ.setdefault("OMP_NUM_THREADS", "1")

import cv2
import numpy as np
import torch
from sklearn.metrics import roc_auc_score
from torch import nn
from torch.nn import functional
from tqdm import tqdm

from biomedjourney_monai.phantom.anatomy import draw_anatomy
from biomedjourney_monai.phantom.findings import FindingState
from biomedjourney_monai.phantom.physics import draw_acquisition
from biomedjourney_monai.phantom.render import render
from biomedjourney_monai.schema import FINDINGS

SIZE, VISITS, BATCH = 128, 3, 32
CHANCES = (0.16, 0.16, 0.35, 0.33, 0.2, 0.2, 0.12, 0.12)
SEVERITY_SHARES = (0.45, 0.35, 0.20)


@dataclass(frozen=True)
class Cohort:
    """Images (N, 1, S, S) about 0, labels (N, 5), groups (N,), ages in years (N,)."""

    images: torch.Tensor
    labels: torch.Tensor
    groups: torch.Tensor
    ages: torch.Tensor


def draw_visits(patient: int) -> list[tuple[np.ndarray, list[int], int, float]]:
    """Render one patient's visits: (image uint8, labels, group, age)."""
    cv2.setNumThreads(1)
    rng = np.random.default_rng([patient, 77])
    age, group = float(np.clip(rng.normal(60, 17), 20, 92)), int(rng.choice(3, p=(0.5, 0.25, 0.25)))
    anatomy = draw_anatomy(7919 * patient + 3, sex="FM"[rng.integers(2)], age=age, group=group)
    visits = []
    for visit in range(VISITS):
        severities = rng.choice((1, 2, 3), 8, p=SEVERITY_SHARES) * (rng.random(8) < CHANCES)
        state = FindingState(*(int(s) for s in severities))
        image = render(anatomy, draw_acquisition(131 * patient + visit), state, size=SIZE).image
        visits.append((np.round(image * 255).astype(np.uint8), list(state.labels().values()), group, age))
    return visits


def draw_cohort(patients: range, *, processes: int) -> Cohort:
    """Render all visits of the patients."""
    with ProcessPoolExecutor(processes) as pool:
        found = tqdm(pool.map(draw_visits, patients, chunksize=10), total=len(patients), desc="render", unit="patient")
        rows = [row for visits in found for row in visits]
    images, labels, groups, ages = zip(*rows)
    pixels = torch.from_numpy(np.stack(images)).float()[:, None] / 255 - 0.5  # (N, 1, S, S)
    return Cohort(pixels, torch.tensor(labels).float(), torch.tensor(groups), torch.tensor(ages))


class Reader(nn.Module):
    """Four blocks of two convolutions; five findings, three groups and the age from pooled features."""

    def __init__(self) -> None:
        super().__init__()
        widths = (1, 16, 32, 64, 96)
        self.features = nn.Sequential(*(self._block(i, o) for i, o in pairwise(widths)))
        self.head = nn.Linear(7 * widths[-1], len(FINDINGS) + 3 + 1)

    @staticmethod
    def _block(inward: int, outward: int) -> nn.Sequential:
        return nn.Sequential(
            nn.Conv2d(inward, outward, 3, 2, 1, bias=False), nn.BatchNorm2d(outward), nn.ReLU(),
            nn.Conv2d(outward, outward, 3, 1, 1, bias=False), nn.BatchNorm2d(outward), nn.ReLU(),
        )  # fmt: skip

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return logits of findings and groups and the standardised age, shape (B, 9)."""
        z = self.features(images)
        quarters = functional.adaptive_avg_pool2d(z, 2).flatten(1)
        return self.head(torch.cat([z.mean((2, 3)), z.amax((2, 3)), z.std((2, 3)), quarters], 1))


def train(cohort: Cohort, *, steps: int, seed: int) -> Reader:
    """Train on random batches with a little shift and contrast change."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    reader = Reader()
    optimizer = torch.optim.AdamW(reader.parameters(), weight_decay=0.02)
    lr_scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps, pct_start=0.15)
    for _ in tqdm(range(steps), desc="train", unit="step"):
        chosen = rng.choice(len(cohort.images), BATCH)
        images = cohort.images[chosen] * (1 + 0.1 * torch.randn(BATCH, 1, 1, 1)) + 0.05 * torch.randn(BATCH, 1, 1, 1)
        images = torch.roll(images, tuple(int(s) for s in rng.integers(-6, 7, 2)), (2, 3))
        read = reader(images)
        loss = functional.binary_cross_entropy_with_logits(read[:, :5], cohort.labels[chosen])
        loss = loss + 0.5 * functional.cross_entropy(read[:, 5:8], cohort.groups[chosen])
        loss = loss + 0.5 * functional.smooth_l1_loss(read[:, 8], (cohort.ages[chosen] - 60) / 17)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        lr_scheduler.step()
    return reader.eval()


@torch.no_grad()
def score(reader: Reader, cohort: Cohort) -> dict[str, float]:
    """Return AUROC per finding, their mean, the groups' AUROC and the correlation of age."""
    read = torch.cat([reader(batch) for batch in cohort.images.split(64)])
    figures = {
        f"AUROC {name}": float(roc_auc_score(cohort.labels[:, k], read[:, k])) for k, name in enumerate(FINDINGS)
    }
    figures["AUROC mean"] = float(np.mean(list(figures.values())))
    chances = torch.softmax(read[:, 5:8].double(), 1)
    figures["AUROC group"] = float(roc_auc_score(cohort.groups, chances, multi_class="ovr"))
    figures["age r"] = float(np.corrcoef(read[:, 8], cohort.ages)[0, 1])
    return figures


def main() -> None:
    """Render, train, test and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", type=int, default=1000, help="training patients, three images each")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    seen = draw_cohort(range(args.patients), processes=args.processes)
    unseen = draw_cohort(range(10**6, 10**6 + max(args.patients // 4, 20)), processes=args.processes)
    figures = score(train(seen, steps=args.steps, seed=args.seed), unseen)
    for name, value in figures.items():
        print(f"{name:24s} {value:.3f}")
    bars = {
        "AUROC of each finding at least .90": min(figures[f"AUROC {name}"] for name in FINDINGS) >= 0.90,
        "mean AUROC at least .95": figures["AUROC mean"] >= 0.95,
        "group AUROC at least .95": figures["AUROC group"] >= 0.95,
        "age r at least .85": figures["age r"] >= 0.85,
    }
    print(json.dumps({"figures": {k: round(v, 4) for k, v in figures.items()}, "bars": bars}))


if __name__ == "__main__":
    main()
