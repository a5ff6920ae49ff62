"""Which files make a model: bundle folder, weights, overlay and text encoder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from biomedjourney_monai.configuration import compose, locate_root, read_overlay
from biomedjourney_monai.errors import ConfigError

if TYPE_CHECKING:
    from monai.bundle import ConfigParser

    from biomedjourney_monai.networks.generator import CounterfactualGenerator

MODEL_FILE, STUDENT_FILE = Path("models") / "model.pt", Path("models") / "student.pt"
"""The shipped weights, below the bundle folder."""


@dataclass(frozen=True)
class ModelConfig:
    """The files that make a model.

    Attributes:
        bundle: the bundle folder, with `configs/common.yaml` in it.
        weights: model file.
        overlay: config laid over `common.yaml`, for example `sd15.yaml`; None for none.
        text_encoder: folder of the text encoder; None for the config's `text_encoder_dir`.
    """

    bundle: Path
    weights: Path
    overlay: Path | None = None
    text_encoder: Path | None = None

    def __post_init__(self) -> None:
        for name in ("bundle", "weights", "overlay", "text_encoder"):  # configs give paths as text
            value = getattr(self, name)
            object.__setattr__(self, name, None if value is None else Path(value))

    @classmethod
    def find(
        cls,
        bundle: str | Path | None = None,
        weights: str | Path | None = None,
        overlay: str | Path | None = None,
        text_encoder: str | Path | None = None,
    ) -> ModelConfig:
        """Fill in what is not given: the bundle is located, the weights are the bundle's `models/model.pt`.

        A bare "student.pt" that is not in the current folder means the bundle's few-step student.

        Raises:
            ConfigError: if the folder is not a bundle.
        """
        root = Path(bundle) if bundle else Path(locate_root())
        if not (root / "configs" / "common.yaml").is_file():
            raise ConfigError(
                f"{root} must be a bundle folder", found="no configs/common.yaml in it", action="Pass --bundle DIR"
            )
        file = Path(weights) if weights else root / MODEL_FILE
        if str(file) == STUDENT_FILE.name and not file.exists():
            file = root / STUDENT_FILE
        return cls(
            root,
            file,
            Path(overlay) if overlay else None,
            Path(text_encoder) if text_encoder else None,
        )

    @property
    def models(self) -> Path:
        """The bundle's folder of weights, which also holds the judges."""
        return self.bundle / "models"

    @property
    def image_size(self) -> int:
        """Side of the square images that the model takes, in pixels."""
        return int(self.compose().get("image_size"))

    def compose(self, **sections: dict[str, Any]) -> ConfigParser:
        """Parse `common.yaml` under the overlay and under the given sections.

        Args:
            sections: settings laid over a section of the config, for example `sampler={"steps": 10}`.

        Raises:
            ConfigError: if the overlay cannot be read, or a key does not exist.
        """
        common = self.bundle / "configs" / "common.yaml"
        changes: dict[str, Any] = read_overlay(str(self.overlay), common) if self.overlay else {}
        if self.text_encoder:
            changes["text_encoder_dir"] = str(self.text_encoder)
        for name, section in sections.items():
            changes[name] = {**changes.get(name, {}), **section}
        return compose(common, {**changes, "bundle_root": str(self.bundle)})

    def load_generator(
        self, *, precision: str | None = None, device: str | None = None, **sampler: Any
    ) -> CounterfactualGenerator:
        """Build the generator, load its weights, and prepare it for inference.

        Args:
            precision: of the denoiser: "float32", "bfloat16", "float16" or "auto"; None takes the config's.
            device: "cpu" or "cuda"; None is the CPU.
            sampler: overrides of the sampler section; None leaves the config's value.

        Raises:
            WeightsError: if the weights are missing or do not fit.
        """
        import torch

        given = {key: value for key, value in sampler.items() if value is not None}
        parser = self.compose(sampler=given)
        for part in ("text_encoder", "noise_scheduler"):
            parser.get_parsed_content(part)
        with torch.device("meta"):  # the weights are loaded next
            for part in ("autoencoder", "denoiser"):
                parser.get_parsed_content(part)
        generator: CounterfactualGenerator = parser.get_parsed_content("generator")
        generator.load(self.weights)
        generator.prefer_over_student(given)
        if device is not None:
            generator.to(device)
        return generator.eval().speed_up(
            precision or str(parser.get("denoiser_precision")),
            autoencoder_precision=str(parser.get("autoencoder_precision")),
            compiled=bool(parser.get("compiled")),
        )
