"""Counterfactuals of a few validation examples during training: pictures to look at, and a score to stop by."""

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from PIL import Image, ImageDraw, ImageFont
from tqdm import tqdm

from biomedjourney_monai.files import written_atomically
from biomedjourney_monai.networks.denoiser import Denoiser
from biomedjourney_monai.networks.generator import CounterfactualGenerator
from biomedjourney_monai.training.data.latents import LatentDataset
from biomedjourney_monai.training.processes import any_process, this_process

logger = logging.getLogger(__name__)
CAPTION = 14
"""Height of the caption above a grid, in pixels."""


class SampleValidation:
    """Samples counterfactuals of validation examples with the averaged weights.

    Args:
        dataset: validation examples.
        generator: the whole model; its sampler and autoencoder are used.
        averaged: the averaged denoiser.
        null_text_states: token states of the empty description, shape (1, L, W).
        device: where to sample.
        batch_size: examples per batch.
    """

    def __init__(
        self,
        dataset: LatentDataset,
        *,
        generator: CounterfactualGenerator,
        averaged: Denoiser,
        null_text_states: torch.Tensor,
        device: torch.device | str = "cpu",
        batch_size: int = 16,
    ) -> None:
        self.dataset, self.generator, self.averaged = dataset, generator, averaged
        self.null_text_states, self.device, self.batch_size = null_text_states, device, batch_size

    @torch.no_grad()
    def __call__(self, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Sample the first `count` examples, each with its place as the seed.

        Returns:
            Priors, counterfactuals and new images, float32 in [0, 1], shape (N, H, W) each.
        """
        count = min(count, len(self.dataset))
        parts: list[list[np.ndarray]] = [[], [], []]
        training, self.averaged.training = self.averaged.training, False
        self.averaged.eval()
        for start in tqdm(range(0, count, self.batch_size), desc="sample validation", unit="batch", leave=False):
            places = range(start, min(start + self.batch_size, count))
            items = [self.dataset[place] for place in places]
            prior, new, text = (
                torch.stack([item[key] for item in items]).to(self.device)
                for key in ("prior_latent", "new_mean", "text_states")
            )
            sampled = self.generator.sampler(self.averaged, prior, text, self.null_text_states, seeds=list(places))
            for part, latent in zip(parts, (prior, sampled.latent / self.averaged.scale_factor, new)):
                part.append(self._decode(latent))
        self.averaged.train(training)
        priors, counterfactuals, news = (np.concatenate(part) for part in parts)
        return priors, counterfactuals, news

    def _decode(self, latent: torch.Tensor) -> np.ndarray:
        pixels = self.generator.autoencoder.decode(latent)[:, 0]
        image: np.ndarray = ((pixels + 1) / 2).clamp(0, 1).float().cpu().numpy()
        return image


class PreviewGrid:
    """Write a grid of prior, counterfactual and new image, one row for each example.

    Args:
        sample: makes the images.
        folder: for files such as `iteration-000200.png`.
        every: iterations between two grids; 0 for none.
        count: rows of a grid.
    """

    def __init__(self, sample: SampleValidation, *, folder: str | Path, every: int = 0, count: int = 4) -> None:
        self.sample, self.folder, self.every, self.count = sample, Path(folder), every, count

    def attach(self, engine: Engine) -> None:
        """Register after each such iteration."""
        if self.every:
            engine.add_event_handler(Events.ITERATION_COMPLETED(every=self.every), self)

    def __call__(self, engine: Engine) -> None:
        with written_atomically(self.folder / f"iteration-{engine.state.iteration:06d}.png") as temporary:
            draw_grid(*self.sample(self.count)).save(temporary)


def draw_grid(priors: np.ndarray, counterfactuals: np.ndarray, news: np.ndarray) -> Image.Image:
    """Three columns under a caption that marks the synthetic one; images in [0, 1], shape (N, H, W) each."""
    columns = [np.concatenate(list(part)) for part in (priors, counterfactuals, news)]
    pixels = np.rint(np.concatenate(columns, axis=1) * 255).astype(np.uint8)
    width = priors.shape[2]
    canvas = Image.new("L", (3 * width, pixels.shape[0] + CAPTION), 0)
    canvas.paste(Image.fromarray(pixels), (0, CAPTION))
    pen, font = ImageDraw.Draw(canvas), ImageFont.load_default(size=10)
    for column, text in enumerate(("prior", "SYNTHETIC", "new image")):
        pen.text((column * width + 2, 0), text, fill=255, font=font)
    return canvas


class ScoreSamples:
    """Score counterfactuals of validation journeys, save the best model so far, and stop without improvement.

    The scores are kept in `engine.state.metrics` under `sampled_…`.

    Args:
        sample: makes the images.
        score: journey ids and counterfactuals (N, H, W) to scores by name, higher is better.
        every_epochs: epochs between two evaluations; 0 for none.
        count: journeys to score.
        key: the score that decides.
        save_best: called when that score is the best so far.
        patience: evaluations without improvement before training stops; 0 never stops.
    """

    def __init__(
        self,
        sample: SampleValidation,
        *,
        score: Callable[[Sequence[str], np.ndarray], Mapping[str, float]],
        every_epochs: int = 0,
        count: int = 64,
        key: str = "cmig",
        save_best: Callable[[Engine], Any] | None = None,
        patience: int = 0,
    ) -> None:
        self.sample, self.score = sample, score
        self.every_epochs, self.count, self.key = every_epochs, count, key
        self.save_best, self.patience = save_best, patience
        self.best, self.without_better = float("-inf"), 0

    def attach(self, engine: Engine) -> None:
        """Register after each such epoch."""
        if self.every_epochs:
            engine.add_event_handler(Events.EPOCH_COMPLETED(every=self.every_epochs), self)

    def __call__(self, engine: Engine) -> None:
        stop = False
        if this_process() == 0:
            _, counterfactuals, _ = self.sample(self.count)
            journeys = [row.journey_id for row in self.sample.dataset.rows[: len(counterfactuals)]]
            scores = {name: float(value) for name, value in self.score(journeys, counterfactuals).items()}
            engine.state.metrics.update({f"sampled_{name}": v for name, v in scores.items() if math.isfinite(v)})
            logger.info(f"Epoch {engine.state.epoch}: {self.key} {scores[self.key]:.3f} on {len(journeys)} journeys.")
            stop = self._judge(engine, scores[self.key])
        if any_process(stop):
            engine.terminate()

    def _judge(self, engine: Engine, score: float) -> bool:
        """Save the model if it is the best so far; returns whether to stop."""
        if score > self.best:
            self.best, self.without_better = score, 0
            if self.save_best is not None:
                self.save_best(engine)
            return False
        self.without_better += 1
        if not self.patience or self.without_better < self.patience:
            return False
        logger.info(
            f"No better {self.key} in {self.patience} evaluations: training ends at epoch {engine.state.epoch}."
        )
        return True

    def state_dict(self) -> dict[str, float]:
        """For the checkpoint."""
        return {"best": self.best, "without_better": self.without_better}

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        """From a checkpoint."""
        self.best, self.without_better = float(state["best"]), int(state["without_better"])
