"""The small text tower: an open_clip model in BiomedCLIP's layout, trained from scratch in minutes.

Three losses train it together: open_clip's contrastive loss between radiographs and their reports; masked words in
reports and change sentences; and the meaning of change sentences, predicted from every token and from their mean, so
that side, severity and change of each finding remain distinguishable. A tower that continues an earlier one keeps that
one's token states of the training descriptions, so that denoisers trained with it can be trained on.
"""

import math
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel
from tqdm import tqdm

from biomedjourney_monai.errors import ConfigError
from biomedjourney_monai.files import write_json
from biomedjourney_monai.networks.text.encoder import TextEncoder
from biomedjourney_monai.networks.text.folder import SMALL_WEIGHTS
from biomedjourney_monai.networks.text.tower_folder import (
    TowerGeometry,
    build_tower,
    write_tower_folder,
    write_tower_weights,
)
from biomedjourney_monai.schema import FINDINGS
from biomedjourney_monai.training.text_tower.change_sentences import (
    ATTRIBUTE_CLASSES,
    SEVERITY_CLASSES,
    SPECIAL_TOKENS,
    STATUSES,
    build_vocabulary,
    draw_story,
    join_parts,
    story_targets,
    tell_in_parts,
    tell_story,
)
from biomedjourney_monai.training.text_tower.continued import continue_tower

TRAINING_FILE = "training.json"

_TOKEN_CLASSES = tuple((len(FINDINGS) + 1) * size for size in (len(STATUSES), SEVERITY_CLASSES, SEVERITY_CLASSES))
"""Classes of a token: its finding together with the status, with the severity left, and with the severity right."""

_HELD_OUT = 0.1
_VOCABULARY_TEXTS = 6000
_IMAGE_EVERY = 3
"""Steps from one batch of images to the next: text states matter more here than images."""
_LOSS_WEIGHTS = {"meaning": 4.0, "token_meaning": 2.0, "words": 0.5, "report_words": 0.5, "contrastive": 1.0}
_LOSS_WEIGHTS |= {"kept_states": 40.0}
_CONTINUED_RATE = 0.5
"""Of the learning rate, for a tower that continues another."""


def fit_text_tower(
    images: np.ndarray,
    texts: Sequence[Sequence[str]],
    *,
    out: str | Path,
    seed: int,
    steps: int = 800,
    batch_size: int = 24,
    geometry: TowerGeometry | None = None,
    start_from: str | Path | None = None,
    kept_texts: Sequence[str] = (),
) -> dict[str, float]:
    """Train a small text tower and write its folder, completely or not at all.

    Args:
        images: uint8, shape (N, H, W), N >= 8, H = W = the geometry's image size. The last tenth is held out.
        texts: for each image one or more texts that describe it; a step uses one of them.
        out: the folder to write.
        seed: of everything random; equal seeds and numbers of threads give equal bytes on one machine.
        steps: optimiser steps, at least 1.
        batch_size: pairs of image and text per step, with twice as many change sentences.
        geometry: sizes; None for the default tower.
        start_from: folder of an earlier tower of the same width, whose weights are taken over word piece by word piece.
        kept_texts: with `start_from`, texts whose token states should remain those of the earlier tower.

    Returns:
        Figures on the held-out pairs, see `measure_retrieval`, and the last losses; with `start_from` also
        `kept_states`, the mean squared difference to the earlier token states, whose variance is about 1.

    Raises:
        ConfigError: if images, texts and geometry do not fit.
    """
    geometry = geometry or TowerGeometry()
    _check_pairs(images, texts, geometry, steps)
    rng = np.random.default_rng(seed)
    change_texts = [tell_story(rng, draw_story(rng)) for _ in range(_VOCABULARY_TEXTS)]
    vocabulary = build_vocabulary([text for choice in texts for text in choice] + change_texts + list(kept_texts))
    out = Path(out)
    with tempfile.TemporaryDirectory() as temporary, torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        write_tower_folder(temporary, vocabulary, geometry=geometry)
        model, tokenizer = build_tower(Path(temporary))
        held_out = max(1, round(len(images) * _HELD_OUT))
        trainer = _TowerTrainer(model, tokenizer, rng, steps=steps, batch_size=batch_size)
        if start_from is not None:
            trainer.keep(continue_tower(model, vocabulary, start_from), kept_texts)
        losses = trainer.train(images[:-held_out], texts[:-held_out])
        figures = {**measure_retrieval(model, tokenizer, images[-held_out:], texts[-held_out:]), **losses}
    write_tower_folder(out, vocabulary, geometry=geometry)
    write_tower_weights(out / SMALL_WEIGHTS, model)
    write_json(out / TRAINING_FILE, {"seed": seed, "steps": steps, "images": len(images), "figures": figures})
    return figures


@torch.no_grad()
def measure_retrieval(
    model: Any, tokenizer: Any, images: np.ndarray, texts: Sequence[Sequence[str]]
) -> dict[str, float]:
    """Rank the texts of all images by similarity to each image.

    Returns:
        `pairs`, their number N; `recall_at_1` and `recall_at_10`, shares of images whose own text is among the first;
        `median_rank`, from 1 to N. By chance they are 1/N, 10/N and (N + 1)/2. Equal texts share a rank.
    """
    model.eval()
    image_features = torch.cat([model.encode_image(_as_input(part), normalize=True) for part in _chunks(images)])
    own = [choice[0] for choice in texts]
    text_features = torch.cat([model.encode_text(tokenizer(part), normalize=True) for part in _chunks(own)])
    scores = image_features @ text_features.T  # (N, N)
    better = (scores > scores.diagonal()[:, None] + 1e-6).sum(1).float()
    return {
        "pairs": float(len(own)),
        "recall_at_1": float((better < 1).float().mean()),
        "recall_at_10": float((better < 10).float().mean()),
        "median_rank": float(better.median()) + 1,
    }


class _TowerTrainer:
    """The training loop, with the heads that only training needs. open_clip's model and tokenizer have no types."""

    def __init__(self, model: Any, tokenizer: Any, rng: np.random.Generator, *, steps: int, batch_size: int) -> None:
        from open_clip import ClipLoss

        self.model, self.tokenizer, self.rng = model, tokenizer, rng
        self.steps, self.batch_size = steps, batch_size
        config = model.text.config
        width = config.hidden_size
        self.word_head = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.LayerNorm(width))
        self.word_bias = nn.Parameter(torch.zeros(config.vocab_size))
        self.meaning_head = nn.Linear(width, sum(ATTRIBUTE_CLASSES))
        self.token_head = nn.Linear(width, sum(_TOKEN_CLASSES))
        self.clip_loss = ClipLoss()
        self.earlier: TextEncoder | None = None
        self.kept_texts: list[str] = []
        parameters = [*model.parameters(), *self.word_head.parameters(), *self.meaning_head.parameters()]
        parameters += [self.word_bias, *self.token_head.parameters()]
        self.optimizer = torch.optim.AdamW(parameters, lr=1e-3, weight_decay=0.02, betas=(0.9, 0.98), fused=True)
        warm_up = max(1, min(50, steps // 5))
        self.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(
            self.optimizer,
            lambda step: min((step + 1) / warm_up, 0.5 + 0.5 * math.cos(math.pi * min(step / steps, 1)) + 1e-3),
        )

    def keep(self, earlier: TextEncoder, texts: Sequence[str]) -> None:
        """Keep the token states that an earlier tower gives to these texts, and learn more slowly."""
        self.earlier, self.kept_texts = earlier, list(texts)
        for group in self.optimizer.param_groups:
            group["initial_lr"] *= _CONTINUED_RATE
        self.lr_scheduler.base_lrs = [rate * _CONTINUED_RATE for rate in self.lr_scheduler.base_lrs]

    def train(self, images: np.ndarray, texts: Sequence[Sequence[str]]) -> dict[str, float]:
        """Run all steps; returns the mean of each loss over the last fifth."""
        self.model.train()
        history: list[dict[str, float]] = []
        order: list[int] = []
        changes: list[tuple[Tensor, Tensor, Tensor]] = []
        for step in (bar := tqdm(range(self.steps), desc="train text tower", unit="step", mininterval=1)):
            changes = changes or self._draw_changes()
            losses = self._change_losses(*changes.pop())
            if step % _IMAGE_EVERY == 0:
                while len(order) < self.batch_size:
                    order.extend(self.rng.permutation(len(images)).tolist())
                rows, order = order[: self.batch_size], order[self.batch_size :]
                chosen = [texts[row][int(self.rng.integers(len(texts[row])))] for row in rows]
                losses |= self._pair_losses(images[rows], self._tokenize(chosen))
            losses |= self._kept_losses()
            self._descend(losses)
            history.append({name: float(loss.detach()) for name, loss in losses.items()})
            bar.set_postfix({name: f"{value:.3f}" for name, value in history[-1].items()}, refresh=False)
        last = history[-max(_IMAGE_EVERY, self.steps // 5) :]
        names = sorted({name for losses in last for name in losses})
        return {name: float(np.mean([losses[name] for losses in last if name in losses])) for name in names}

    def _change_losses(self, ids: Tensor, targets: Tensor, token_targets: Tensor) -> dict[str, Tensor]:
        """Losses of the meaning of C change sentences, and of masked words in a quarter of them.

        Args:
            ids: token ids, shape (C, N).
            targets: of the whole text, shape (C, 15).
            token_targets: of each token's own sentence, shape (C, N, 3), -1 for none.
        """
        with _fast_on_cpu():
            states, pooled = self._read(ids)
            meanings = self.meaning_head(pooled).float().split(ATTRIBUTE_CLASSES, dim=1)
            has_target = token_targets[..., 0] >= 0  # (C, N)
            token_meanings = self.token_head(states[has_target]).float().split(_TOKEN_CLASSES, dim=1)
            words = self._masked_word_loss(ids[::4])
        losses = [functional.cross_entropy(part, target) for part, target in zip(meanings, targets.T)]
        token_losses = [
            functional.cross_entropy(part, target) for part, target in zip(token_meanings, token_targets[has_target].T)
        ]
        return {
            "meaning": torch.stack(losses).mean(),
            "token_meaning": torch.stack(token_losses).mean(),
            "words": words,
        }

    def _pair_losses(self, images: np.ndarray, ids: Tensor) -> dict[str, Tensor]:
        """Contrastive loss of B images and their reports, token ids (B, N), and of masked words in half of these."""
        with _fast_on_cpu():
            image_features = self.model.encode_image(_as_input(_shifted(images, self.rng)), normalize=True)
            text_features = self.model.encode_text(ids, normalize=True)
            words = self._masked_word_loss(ids[::2])
        logit_scale = self.model.logit_scale.exp()
        return {
            "contrastive": self.clip_loss(image_features.float(), text_features.float(), logit_scale),
            "report_words": words,
        }

    def _kept_losses(self) -> dict[str, Tensor]:
        """How far the token states of some of the kept texts are from those of the earlier tower."""
        if self.earlier is None or not self.kept_texts:
            return {}
        chosen = [self.kept_texts[place] for place in self.rng.integers(len(self.kept_texts), size=self.batch_size)]
        ids = self._tokenize(chosen)
        wanted = self.earlier.encode(chosen)
        length = min(ids.shape[1], wanted.shape[1])
        with _fast_on_cpu():
            states = self._read(ids)[0][:, :length]
        # the same length and no padding: the same word pieces
        same = ((ids != 0).sum(1) == (wanted != 0).any(2).sum(1))[:, None] & (ids[:, :length] != 0)
        if not same.any():
            return {}
        return {"kept_states": functional.mse_loss(states[same].float(), wanted[:, :length][same])}

    def _descend(self, losses: dict[str, Tensor]) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        torch.as_tensor(sum(_LOSS_WEIGHTS[name] * loss for name, loss in losses.items())).backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.lr_scheduler.step()
        with torch.no_grad():
            self.model.logit_scale.clamp_(0, math.log(100))

    def _draw_changes(self, *, batches: int = 4) -> list[tuple[Tensor, Tensor, Tensor]]:
        """Draw batches of change sentences for `_change_losses`, each of similar length, to reduce padding."""
        stories = [draw_story(self.rng) for _ in range(batches * 2 * self.batch_size)]
        told = [tell_in_parts(self.rng, story) for story in stories]
        ids = self._tokenize([join_parts(parts) for parts in told])
        numbers = np.stack([story_targets(story) for story in stories])
        targets = torch.from_numpy(numbers)
        token_targets = torch.from_numpy(self._token_targets(ids, numbers, told))
        order = (ids != 0).sum(1).argsort(stable=True).chunk(batches)
        drawn = []
        for rows in (order[part] for part in self.rng.permutation(batches)):
            trimmed = _trimmed(ids[rows])
            drawn.append((trimmed, targets[rows], token_targets[rows, : trimmed.shape[1]]))
        return drawn

    def _token_targets(self, ids: Tensor, numbers: np.ndarray, told: list[list[tuple[str, int]]]) -> np.ndarray:
        """The meaning of each token's own part of the text.

        Args:
            ids: token ids, shape (C, N).
            numbers: `story_targets` of each text, shape (C, 15).
            told: the parts of each text, from `tell_in_parts`.

        Returns:
            int64, shape (C, N, 3): classes in `_TOKEN_CLASSES`; -1 for special tokens and shared words.
        """
        pieces = self.tokenizer.tokenizer([part for parts in told for part, _ in parts], add_special_tokens=False)
        lengths = iter([len(piece) for piece in pieces.input_ids])
        targets = np.full((*ids.shape, 3), -1, dtype=np.int64)
        for row, parts in enumerate(told):
            place = 1  # after [CLS]
            for _, subject in parts:
                end = place + next(lengths)
                if subject >= 0:
                    own = numbers[row, 3 * subject : 3 * subject + 3] if subject < len(FINDINGS) else (0, 0, 0)
                    targets[row, place:end] = [
                        subject * size + number
                        for size, number in zip((len(STATUSES), SEVERITY_CLASSES, SEVERITY_CLASSES), own)
                    ]
                place = end
        return targets

    def _tokenize(self, texts: list[str]) -> Tensor:
        return _trimmed(self.tokenizer(texts))

    def _read(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Token ids (B, N) to states (B, N, W) and pooled states (B, W)."""
        mask = (ids != 0).long()
        out = self.model.text.transformer(input_ids=ids, attention_mask=mask)
        return out.last_hidden_state, self.model.text.pooler(out, mask)

    def _masked_word_loss(self, ids: Tensor) -> Tensor:
        """Mask a quarter of the tokens, at least one, and predict them."""
        hidden = torch.from_numpy(self.rng.random(tuple(ids.shape)) < 0.25) & (ids >= len(SPECIAL_TOKENS))
        hidden[0, 1] = True
        states, _ = self._read(ids.masked_fill(hidden, SPECIAL_TOKENS.index("[MASK]")))
        words = self.model.text.transformer.embeddings.word_embeddings.weight  # (V, W)
        guesses = self.word_head(states[hidden]) @ words.T + self.word_bias
        return functional.cross_entropy(guesses.float(), ids[hidden])


def _check_pairs(images: np.ndarray, texts: Sequence[Sequence[str]], geometry: TowerGeometry, steps: int) -> None:
    side = geometry.image_size
    if images.dtype != np.uint8 or images.ndim != 3 or images.shape[1:] != (side, side):
        raise ConfigError(
            f"images must be uint8 of shape (N, {side}, {side})", found=f"{images.dtype} of shape {images.shape}"
        )
    if len(images) != len(texts) or len(images) < 8:
        raise ConfigError(
            "there must be at least 8 images, with texts for each",
            found=f"{len(images)} images and {len(texts)} groups of texts",
            action="Pass a larger number of images",
        )
    if not all(texts):
        raise ConfigError("every image must have a text", found=f"{sum(not choice for choice in texts)} without")
    if steps < 1:
        raise ConfigError("steps must be >= 1", found=str(steps))


def _as_input(images: np.ndarray) -> Tensor:
    """uint8 (B, H, W) to float32 (B, 3, H, W) in [-1, 1]."""
    return (torch.from_numpy(np.ascontiguousarray(images)).float() / 127.5 - 1)[:, None].expand(-1, 3, -1, -1)


def _shifted(images: np.ndarray, rng: np.random.Generator, *, most: int = 4) -> np.ndarray:
    """Shift all images of a batch by the same few pixels, without mirroring."""
    down, across = rng.integers(-most, most + 1, size=2)
    padded = np.pad(images, ((0, 0), (most, most), (most, most)), mode="edge")
    height, width = images.shape[1:]
    return padded[:, most + down : most + down + height, most + across : most + across + width]


@contextmanager
def _fast_on_cpu() -> Iterator[None]:
    """bfloat16, and plain attention: the backward pass of fused attention is ten times slower on a CPU."""
    with sdpa_kernel(SDPBackend.MATH), torch.autocast("cpu", dtype=torch.bfloat16):
        yield


def _trimmed(ids: Tensor) -> Tensor:
    """Remove the columns that are padding in every row."""
    return ids[:, : int((ids != 0).sum(1).max())]


def _chunks(items: Any, *, size: int = 64) -> list[Any]:
    return [items[start : start + size] for start in range(0, len(items), size)]
