"""Rendered films as different from each other as films of many sites are, with their outlines."""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import affine_grid, avg_pool2d, grid_sample, interpolate
from tqdm import tqdm

from biomedjourney_monai.phantom.parallel import map_in_order
from biomedjourney_monai.phantom.patients import draw_patient
from biomedjourney_monai.phantom.physics import draw_acquisition
from biomedjourney_monai.phantom.render import lung_fields, render
from biomedjourney_monai.phantom.seeds import derive_rng
from biomedjourney_monai.phantom.truth import anatomy_of
from biomedjourney_monai.schema import STRUCTURES

STREAM = "anatomy"
"""Keeps these patients apart from every cohort's, for any seed."""

HEART = STRUCTURES.index("heart")


def draw_varied(n: int, *, seed: int, size: int = 128, processes: int | None = 1) -> tuple[np.ndarray, np.ndarray]:
    """Render one film each of n patients, PA or AP, with geometry, exposure and processing far beyond a cohort's.

    Returns:
        Films, uint8, shape (n, S, S), and outlines, uint8 0 or 1, shape (n, 3, S, S): the left and the right lung field
        (see `render.lung_fields`) and the heart.
    """
    films = np.empty((n, size, size), np.uint8)
    outlines = np.empty((n, 3, size, size), np.uint8)
    drawn = map_in_order(_draw_one, ((seed, index, size) for index in range(n)), processes=processes)
    for index, (film, outline) in enumerate(tqdm(drawn, total=n, desc="varied films", unit="image", mininterval=1)):
        films[index], outlines[index] = film, outline
    return films, outlines


def _draw_one(task: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    seed, index, size = task
    rng = derive_rng(seed, STREAM, "film", index)
    uniform = rng.uniform
    patient = draw_patient(seed, index, stream=STREAM)
    visit = patient.visits[0]
    drawn = draw_acquisition(visit.acquisition_seed, view_position="AP" if uniform() < 0.4 else "PA")
    acquisition = replace(
        drawn,
        magnification=drawn.magnification * float(np.exp(uniform(-0.18, 0.28))),
        rotation_degrees=drawn.rotation_degrees + float(rng.normal(0, 2.5)),
        turn=drawn.turn + float(rng.normal(0, 0.04)),
        shift_x_cm=float(rng.normal(0, 1.2)),
        shift_y_cm=float(rng.normal(0.3, 1.6)),
        inspiration=drawn.inspiration + float(rng.normal(0, 0.6)),
        hardness=float(uniform(0.8, 1.25)),
        gamma=float(np.exp(uniform(-0.4, 0.4))),
        window_low=float(uniform(0.5, 8.0)),
        window_high=float(uniform(80, 99.5)),
        scatter=float(uniform(0.05, 0.4)),
        blur_cm=float(uniform(0.02, 0.2)),
        detail=float(uniform(0.0, 1.2)),
    )
    anatomy = replace(
        anatomy_of(patient),
        bone_density=float(uniform(0.6, 1.5)),
        parenchyma=float(uniform(0.12, 0.36)),
        heart_size=float(uniform(0.85, 1.2)),
    )
    drawing = render(anatomy, acquisition, visit.findings, devices=visit.devices, size=size, with_masks=True)
    fields = lung_fields(anatomy, acquisition, visit.findings, size=size)
    if drawing.masks is None:
        raise ValueError("a drawing with masks was asked for")
    film = np.round(np.clip(drawing.image, 0, 1) * 255).astype(np.uint8)
    return film, np.concatenate([fields, drawing.masks[HEART : HEART + 1]])


def vary(images: Tensor, masks: Tensor, *, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Vary geometry, exposure, borders, labels and texture at random; nothing is mirrored.

    Args:
        images: shape (B, 1, H, W) in [0, 1].
        masks: shape (B, C, H, W), 0 to 1, moved with the images; the first two channels are the lung fields, into
            which opacities are put.
        generator: the source of all randomness.

    Returns:
        Images in [0, 1] and masks, same shapes.
    """
    draw = _Draws(len(images), generator)
    grid = _geometry(images, draw)
    images = grid_sample(images, grid, padding_mode="border", align_corners=False)
    masks = grid_sample(masks.float(), grid, padding_mode="zeros", align_corners=False).gt(0.5).float()
    haze = (draw.field(images, 5) + 0.5 * draw.field(images, 14) - draw.uniform(-0.6, 1.2)).clamp(0, 1.2)
    share = 0.9 * haze * masks[:, :2].sum(dim=1, keepdim=True) * draw.uniform() * (draw.uniform() < 0.5)
    dense = draw.uniform(0.45, 0.85)
    images = images + share * (dense - images).clamp(min=0)
    images = images + 0.16 * draw.uniform() * draw.field(images, 3) + 0.10 * draw.uniform() * draw.field(images, 8)
    images = images + 0.07 * draw.uniform() * draw.field(images, 40)
    images = _exposure(images, draw)
    smooth = avg_pool2d(images, 3, stride=1, padding=1, count_include_pad=False)
    images = images + draw.uniform(-1.0, 0.8) * (images - smooth)
    images = images + 0.06 * draw.uniform() ** 3 * torch.randn(images.shape, generator=generator)
    images = _things(images.clamp(0, 1), draw)
    low, high = draw.uniform(-0.10, 0.06), draw.uniform(0.85, 1.12)
    return ((images - low) / (high - low)).clamp(0, 1), masks


class _Draws:
    """Random numbers, one per image, shape (B, 1, 1, 1)."""

    def __init__(self, count: int, generator: torch.Generator) -> None:
        self.count, self.generator = count, generator

    def uniform(self, low: float = 0.0, high: float = 1.0) -> Tensor:
        return low + (high - low) * torch.rand((self.count, 1, 1, 1), generator=self.generator)

    def normal(self) -> Tensor:
        return torch.randn((self.count, 1, 1, 1), generator=self.generator)

    def field(self, like: Tensor, cells: int) -> Tensor:
        """Smooth noise with a standard deviation near 1, as many cells across as asked."""
        coarse = torch.randn((self.count, 1, cells, cells), generator=self.generator)
        return interpolate(coarse, size=like.shape[-2:], mode="bicubic", align_corners=False)

    def pick(self, count: int) -> list[int]:
        return torch.randint(0, count, (self.count,), generator=self.generator).tolist()


def _geometry(images: Tensor, draw: _Draws) -> Tensor:
    """Another scale (up to a quarter), aspect, rotation and place; the sampling grid, shape (B, H, W, 2)."""
    scale = torch.exp(draw.uniform(-0.22, 0.22)).flatten()
    aspect = torch.exp(draw.uniform(-0.18, 0.14)).flatten()
    angle = (0.08 * draw.normal()).flatten()
    shear = (0.04 * draw.normal()).flatten()
    cos, sin = angle.cos(), angle.sin()
    across, down = 0.12 * draw.normal().flatten(), 0.14 * draw.normal().flatten()
    first = torch.stack([scale * aspect * cos, -scale * sin + shear, across], dim=1)
    second = torch.stack([scale * sin, scale / aspect * cos, down], dim=1)
    return affine_grid(torch.stack([first, second], dim=1), list(images.shape), align_corners=False)


def _exposure(images: Tensor, draw: _Draws) -> Tensor:
    """Gamma, and a curve that is steep or flat in the middle."""
    images = images.clamp(0, 1) ** torch.exp(0.45 * draw.normal())
    curve = draw.uniform(-0.75, 0.9)
    steep = images * images * (3 - 2 * images)
    flat = 0.5 + torch.sign(images - 0.5) * (2 * (images - 0.5).abs()) ** 1.8 / 2
    return torch.where(curve > 0, images + curve * (steep - images), images - curve * (flat - images))


def _things(images: Tensor, draw: _Draws) -> Tensor:
    """Borders, collimation, burned-in labels, electrodes and lines."""
    images, size = images.clone(), images.shape[-1]
    numbers = torch.rand((len(images), 64), generator=draw.generator).tolist()
    for image, n in zip(images[:, 0], numbers):
        _borders(image, n[:10], size)
        for k in range(int(4 * n[10])):  # labels, most near the edge
            a, b, c, d, e = n[11 + 5 * k : 16 + 5 * k]
            row, column = int(a * size), int((b * 0.25 if c < 0.5 else 1 - 0.25 * b) * size)
            height, width = 2 + int(5 * d), 3 + int(18 * e)
            label = image[row : row + height, column : column + width]
            noise = torch.rand(label.shape, generator=draw.generator)
            label[...] = torch.where(noise < 0.35 + 0.6 * c, torch.tensor(1.0 if d > 0.1 else 0.0), label)
        for k in range(int(4 * n[30]) if n[31] < 0.4 else 0):  # lines
            a, b, c, d = n[32 + 4 * k : 36 + 4 * k]
            at = torch.linspace(0, 1, 2 * size)
            rows = ((a + (b - a) * at + 0.12 * torch.sin(5 * at + 6 * d)) * size).long().clamp(0, size - 1)
            columns = ((c + (d - c) * at) * size).long().clamp(0, size - 1)
            image[rows, columns] = (image[rows, columns] + 0.15 + 0.4 * b).clamp(max=1)
    return images


def _borders(image: Tensor, n: list[float], size: int) -> None:
    """Black, grey or white strips at the edge, of a third of the images."""
    if n[0] < 0.35:
        grey = 0.0 if n[1] < 0.6 else 1.0 if n[1] < 0.85 else n[2]
        top, bottom, left, right = (int(0.14 * size * max(x - 0.3, 0) / 0.7) for x in n[3:7])
        image[:top] = grey
        image[size - bottom :] = grey
        image[:, :left] = grey
        image[:, size - right :] = grey
