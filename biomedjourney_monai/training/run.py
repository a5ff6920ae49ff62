"""Start a training of the bundle in its own process."""

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from biomedjourney_monai.configuration import as_config_text
from biomedjourney_monai.configuration import overrides as read_overrides
from biomedjourney_monai.errors import BiomedJourneyError, ConfigError
from biomedjourney_monai.model_config import ModelConfig
from biomedjourney_monai.output_check import refuse_unwritable
from biomedjourney_monai.training.data.folders import Folders, as_folders

STAGES: dict[str, tuple[str, ...]] = {
    "both": ("train.yaml",),
    "pretrain": ("train.yaml", "pretrain.yaml"),
    "finetune": ("train.yaml", "finetune.yaml"),
    "distill": ("train.yaml", "distill.yaml"),
    "autoencoder": ("train_autoencoder.yaml",),
}
"""The configs of each stage, each laid over those before it."""


class TrainingFailedError(BiomedJourneyError):
    """A training that did not end as it should; `status` is its exit status, 143 after SIGTERM."""

    def __init__(self, status: int) -> None:
        super().__init__("a training must end with status 0", found=str(status), action="See its own messages")
        self.status = status


def train(
    work: Folders = "work",
    *,
    weights: Sequence[float] | None = None,
    stage: str = "both",
    bundle: str | Path | None = None,
    overlays: Sequence[str | Path] = (),
    text_encoder: str | Path | None = None,
    overrides: Mapping[str, object] | Sequence[str] = (),
) -> Path:
    """Train the model on the latent cache. The same call resumes an interrupted training.

    Args:
        work: working folder, encoded by `encode_examples`; several are mixed, and the first keeps the runs.
        weights: share of each folder in the draws; None for the shares of their examples.
        stage: "pretrain", "finetune", "both", "distill" or "autoencoder".
        bundle: the bundle folder; None to find it.
        overlays: config files laid over the stage's, in this order.
        text_encoder: its folder; None for the config's.
        overrides: values of the config's keys, such as `{"learning_rate": 5e-4}`; or the same as arguments of the
            command line, `["--learning_rate", "5e-4"]`.

    Returns:
        The model file, or the autoencoder's weights.

    Raises:
        ConfigError: if a folder, a file or the stage does not exist.
        TrainingFailedError: if the training fails or is stopped.
    """
    if stage not in STAGES:
        raise ConfigError(f"a stage must be one of {', '.join(STAGES)}", found=stage)
    configs = ModelConfig.find(bundle).bundle / "configs"
    folders = as_folders(work)
    if weights is not None and stage == "autoencoder":
        raise ConfigError("--stage autoencoder uses all images of each --work", found="--weights")
    if weights is not None and len(weights) != len(folders):
        raise ConfigError("--weights needs one number for each --work", found=f"{len(weights)} for {len(folders)}")
    if not all(folder.is_dir() for folder in folders):
        raise ConfigError(
            "--work must be a working folder", found="no such folder", action="Run the stages before training first"
        )
    for overlay in overlays:
        if not Path(overlay).is_file():
            raise ConfigError("--overlay must name config files", found=f"no file {overlay}", action="Check the path")
    own = _as_arguments(overrides) if isinstance(overrides, Mapping) else list(overrides)
    runs = Path(dict(read_overrides(["", *own])).get("output_dir", f"{folders[0]}/runs"))
    refuse_unwritable(runs, name="the folder of runs", folder=True)
    files = [str(configs / name) for name in STAGES[stage]] + [str(Path(overlay).resolve()) for overlay in overlays]
    listed = files[0] if len(files) == 1 else "[" + ",".join(f"'{name}'" for name in files) + "]"
    command = [sys.executable, "-m", "monai.bundle", "run", "training", "--config_file", listed]
    if text_encoder and stage != "autoencoder":
        command += ["--text_encoder_dir", as_config_text(text_encoder)]
    status = subprocess.call([*command, *_folder_options(folders, weights, stage), *own])
    if status:
        raise TrainingFailedError(status)
    return runs / {"autoencoder": "autoencoder.pt", "both": "finetune/model.pt"}.get(stage, f"{stage}/model.pt")


def _as_arguments(overrides: Mapping[str, object]) -> list[str]:
    """MONAI ignores None; `$None` is what it takes as no value."""
    pairs = [(f"--{key}", "$None" if value is None else str(value)) for key, value in overrides.items()]
    return [argument for pair in pairs for argument in pair]


def _folder_options(folders: Sequence[Path], weights: Sequence[float] | None, stage: str) -> list[str]:
    names = [as_config_text(folder) for folder in folders]
    options = ["--dataset_dir", names[0] if len(names) == 1 or stage == "autoencoder" else repr(names)]
    if len(names) > 1 and stage == "autoencoder":
        options += ["--image_dirs", repr(names)]
    return options if weights is None else [*options, "--weights", repr(list(weights))]
