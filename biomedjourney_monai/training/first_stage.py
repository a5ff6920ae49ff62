"""Training of the autoencoder: its images, its loss, its start in closed form."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from monai.networks.nets import AutoencoderKL
from torch import Tensor, nn
from torch.utils.data import Dataset

from biomedjourney_monai.configuration import compose
from biomedjourney_monai.errors import TableError
from biomedjourney_monai.files import read_json_lines
from biomedjourney_monai.networks.autoencoder import PatchAutoencoderKL, reconstruct
from biomedjourney_monai.networks.weights.autoencoder_file import load_autoencoder
from biomedjourney_monai.networks.weights.geometry import geometry_facts
from biomedjourney_monai.networks.weights.model_file import save_tensors
from biomedjourney_monai.radiographs import read_png
from biomedjourney_monai.schema import SINGLES_FILE


class RadiographDataset(Dataset):
    """The prepared single images of one split, as `{"image": x, "label": x}` with x in [-1, 1], shape (1, H, W).

    Args:
        folder: one working folder, or several.
        split: one of `schema.SPLITS`.

    Raises:
        TableError: if a folder has no images of the split.
    """

    def __init__(self, folder: str | Path | Sequence[str | Path], *, split: str) -> None:
        self.paths: list[Path] = []
        for part in map(Path, [folder] if isinstance(folder, (str, Path)) else folder):
            rows = read_json_lines(part / SINGLES_FILE, made_by="describe", keys=("image", "split"))
            chosen = [part / row["image"] for row in rows if row["split"] == split]
            if not chosen:
                raise TableError(
                    f"{part / SINGLES_FILE} must hold images of split {split}",
                    found=f"{len(rows)} images of other splits",
                    action="Prepare more patients, or choose another split",
                )
            self.paths += chosen

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        pixels = torch.from_numpy(read_png(self.paths[index]))[None] * 2 - 1
        return {"image": pixels, "label": pixels}


class ReconstructionLoss(nn.Module):
    """Mean absolute error of pixels and of gradients, divergence, perceptual distance, adversarial penalty.

    Args:
        gradient_weight: of the gradients' error, which keeps ribs and vessels sharp.
        kl_weight: of the Kullback-Leibler divergence from a standard normal, per latent element.
        l1_weight: of the pixels' error.
        perceptual_weight: of the perceptual distance.
        perceptual: distance of reconstruction and image, both (B, 1, H, W); None for none.
        penalty: weighted adversarial loss of a reconstruction; None for none.
    """

    def __init__(
        self,
        *,
        gradient_weight: float,
        kl_weight: float,
        l1_weight: float = 1.0,
        perceptual_weight: float = 0.0,
        perceptual: nn.Module | None = None,
        penalty: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.l1_weight, self.gradient_weight, self.kl_weight = l1_weight, gradient_weight, kl_weight
        self.perceptual_weight, self.perceptual, self.penalty = perceptual_weight, perceptual, penalty

    def forward(self, prediction: Sequence[Tensor], image: Tensor) -> Tensor:
        """Args: prediction: reconstruction (B, 1, H, W), posterior mean and deviation (B, C, h, w) each."""
        reconstruction, mean, deviation = (part.float() for part in prediction)
        error = reconstruction - image
        gradient = error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()
        divergence = 0.5 * (mean.square() + deviation.square() - 1 - 2 * deviation.clamp_min(1e-15).log()).mean()
        loss = self.l1_weight * error.abs().mean() + self.gradient_weight * gradient + self.kl_weight * divergence
        if self.perceptual is not None:
            loss = loss + self.perceptual_weight * self.perceptual(reconstruction, image)
        return loss if self.penalty is None else loss + self.penalty(reconstruction)


class FirstStage:
    """Builds the autoencoder of `common.yaml` and starts it from a file or, if possible, from principal components.

    Args:
        bundle_root: folder of `configs/common.yaml`.
        dataset: training images.
        fit_images: number of images that `fit` uses.
        seed: of the random weights and the choice of images.
        section: overrides of `common.yaml`'s autoencoder.
        start_from: weights to fine-tune, of an autoencoder or a whole model; None for random weights.
    """

    def __init__(
        self,
        *,
        bundle_root: str | Path,
        dataset: RadiographDataset,
        fit_images: int = 1000,
        seed: int = 0,
        section: Mapping[str, Any] | None = None,
        start_from: str | Path | None = None,
    ) -> None:
        torch.manual_seed(seed)
        changes = {"autoencoder": section} if section else {}
        parser = compose(Path(bundle_root) / "configs" / "common.yaml", changes)
        self.autoencoder: AutoencoderKL = parser.get_parsed_content("autoencoder")
        if start_from is not None:
            load_autoencoder(self.autoencoder, start_from)
        if isinstance(self.autoencoder, PatchAutoencoderKL):
            if start_from is None:
                order = torch.randperm(len(dataset), generator=torch.Generator().manual_seed(seed))[:fit_images]
                self.autoencoder.fit(torch.stack([dataset[int(index)]["image"] for index in order]))
            for name in ("encoder", "quant_conv_mu", "quant_conv_log_sigma"):
                part = self.autoencoder.get_submodule(name)
                part.requires_grad_(False)  # so that the latents stay the standardised components

    @property
    def trainable(self) -> list[nn.Parameter]:
        """The parameters that training may change."""
        return [parameter for parameter in self.autoencoder.parameters() if parameter.requires_grad]

    def reconstruct(self, images: Tensor) -> Tensor:
        """Encode images of shape (B, 1, H, W) in [0, 1], and decode the posterior's mode."""
        return reconstruct(self.autoencoder, images)

    def save(self, path: str | Path, *, info: Mapping[str, Any]) -> None:
        """Write the weights and their geometry."""
        facts = {**info, **geometry_facts(autoencoder=self.autoencoder)}
        save_tensors(path, self.autoencoder.state_dict(), info=facts)
