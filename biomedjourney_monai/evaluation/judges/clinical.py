"""Judges for clinical radiographs: torchxrayvision's four networks, from a folder of weights, without a download.

torchxrayvision downloads missing files and unpickles their content. Here the networks are built without weights and
filled from files that must lie in one folder, read by torch's restricted unpickler. Its classifiers are published as
whole modules: only for those, a fixed list of network classes is allowed, and their tensors are taken.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from biomedjourney_monai.errors import ConfigError, WeightsError
from biomedjourney_monai.evaluation.judges.scores import HasSquares, JudgeScores, as_batch, on_grid
from biomedjourney_monai.evaluation.metrics.labels import RACE_GROUPS
from biomedjourney_monai.files import file_hash
from biomedjourney_monai.schema import FINDINGS, STRUCTURES

PATHOLOGY_FILES = {
    "chex": "chex-densenet121-d121-tw-lr001-rot45-tr15-sc15-seed0-best.pt",
    "nih": "nih-densenet121-d121-tw-lr001-rot45-tr15-sc15-seed0-best.pt",
    "pc": "pc-densenet121-d121-tw-lr001-rot45-tr15-sc15-seed0-best.pt",
    "all": "nih-pc-chex-mimic_ch-google-openi-kaggle-densenet121-d121-tw-lr001-rot45-tr15-sc15-seed0-best.pt",
}
"""torchxrayvision's names of the DenseNet-121, by the data that it was trained on."""

RACE_FILE = "resnet_race_detection_val-loss_0.157_mimic_public.pt"
AGE_FILE = "baseline_models_riken_xray_age_every_model_age_senet154_v2_tl_26_ft_7_fp32.pt"
ANATOMY_FILE = "pspnet_chestxray_best_model_4.pth"

PATHOLOGY_SIZE, PEOPLE_SIZE, ANATOMY_SIZE = 224, 320, 512
RACE_ORDER = ("Asian", "Black", "White")
_XRV_NAMES = {"Pleural Effusion": "Effusion"}
_IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])


def to_xrv_range(images: Tensor, size: int) -> Tensor:
    """Bring images to what torchxrayvision's networks take: -1024 for black to 1024 for white.

    Args:
        images: shape (B, 1, H, W) in [0, 1], bright = dense.
        size: side of the result in pixels.

    Returns:
        float32, shape (B, 1, size, size), in [-1024, 1024].

    Raises:
        ValueError: if the shape is another, or a pixel is not finite or outside [0, 1].

    Source: torchxrayvision.utils.normalize, which makes (2 x / 255 - 1) * 1024 of 8-bit grey.
    """
    images = as_batch(images)
    if images.numel() and not (images.amin() >= 0 and images.amax() <= 1):  # false for NaN too
        raise ValueError(
            f"images must be finite and in [0, 1]; found pixels from {images.amin():g} to {images.amax():g}."
        )
    return (2 * on_grid(images.float(), (size, size)) - 1) * 1024


@dataclass
class ClinicalNetworks:
    """The networks; each takes images of `to_xrv_range` at its own size."""

    pathology: Any  # torchxrayvision's DenseNet, which has no types
    race: nn.Module
    age: nn.Module
    anatomy: nn.Module


class ClinicalJudges:
    """The judges of the paper: torchxrayvision's networks, loaded and in evaluation mode.

    `pathology_columns` and `anatomy_channels` are the columns of `schema.FINDINGS` and `schema.STRUCTURES` in the
    networks' outputs; `hashes` are the SHA-256 of the weights by file name.

    Source: Cohen et al. 2022 (torchxrayvision); Gichoya et al. 2022 (race); Ieki et al. 2022 (age); Lian et al. 2021
    (anatomy).
    """

    def __init__(
        self,
        networks: ClinicalNetworks,
        *,
        pathology_columns: list[int],
        anatomy_channels: list[int],
        trained_on: str,
        hashes: Mapping[str, str],
        device: str | torch.device = "cpu",
    ) -> None:
        self.networks = ClinicalNetworks(**{name: net.eval().to(device) for name, net in vars(networks).items()})
        self.pathology_columns, self.anatomy_channels = pathology_columns, anatomy_channels
        self.trained_on, self.hashes, self.device = trained_on, dict(hashes), torch.device(device)

    @torch.inference_mode()
    def score(self, images: Tensor | HasSquares) -> JudgeScores:
        """Score images of shape (B, 1, H, W) in [0, 1], or the images of a result.

        Raises:
            ValueError: as `to_xrv_range`.
        """
        images = as_batch(images).to(self.device)
        pathology = self.networks.pathology(to_xrv_range(images, PATHOLOGY_SIZE))[:, self.pathology_columns]
        people = _as_imagenet(to_xrv_range(images, PEOPLE_SIZE))
        race = self.networks.race(people).exp()[:, [RACE_ORDER.index(group) for group in RACE_GROUPS]]
        age = self.networks.age(people).reshape(len(images))
        outlines = self.networks.anatomy(_as_imagenet(to_xrv_range(images, ANATOMY_SIZE)))[:, self.anatomy_channels]
        structures = interpolate(outlines, size=images.shape[-2:], mode="bilinear", align_corners=False) > 0
        return JudgeScores(pathology.cpu(), race.cpu(), age.float().cpu(), structures.cpu())

    @torch.inference_mode()
    def features(self, images: Tensor) -> Tensor:
        """The classifier's pooled features of images as in `score`, shape (B, 1024)."""
        return self.networks.pathology.features2(to_xrv_range(images.to(self.device), PATHOLOGY_SIZE)).cpu()

    def provenance(self) -> dict[str, Any]:
        """Name, and the SHA-256 of each weights file."""
        return {"name": f"torchxrayvision {self.trained_on}", "files": self.hashes}


def load_clinical_judges(
    folder: str | Path, *, trained_on: str = "chex", device: str | torch.device = "cpu"
) -> ClinicalJudges:
    """Load the four networks from a folder with files of torchxrayvision's own names. Nothing is downloaded.

    Raises:
        ConfigError: for a `trained_on` that is not a key of PATHOLOGY_FILES.
        WeightsError: if a file is missing, unreadable or does not fit; all missing ones are named.
    """
    if trained_on not in PATHOLOGY_FILES:
        raise ConfigError(f"the classifier must be one of {', '.join(PATHOLOGY_FILES)}", found=str(trained_on))
    folder = Path(folder)
    files = (PATHOLOGY_FILES[trained_on], RACE_FILE, AGE_FILE, ANATOMY_FILE)
    missing = [name for name in files if not (folder / name).is_file()]
    if missing:
        raise WeightsError(
            f"the judges for clinical radiographs need their weights in {folder}",
            found=f"no {' and no '.join(missing)}",
            action="Put them there: they are files of torchxrayvision's release v1 on GitHub; nothing is downloaded",
        )
    pathology, columns = _build_pathology(trained_on)
    anatomy, channels = _build_anatomy()
    race = _build_race()
    _fill(pathology, folder / files[0])
    _fill(race, folder / RACE_FILE, prefix="module.")
    _fill(anatomy, folder / ANATOMY_FILE, prefix="module.")
    networks = ClinicalNetworks(pathology, race, _load_age(folder / AGE_FILE), anatomy)
    return ClinicalJudges(
        networks,
        pathology_columns=columns,
        anatomy_channels=channels,
        trained_on=trained_on,
        hashes={name: file_hash(folder / name) for name in files},
        device=device,
    )


def _build_pathology(trained_on: str) -> tuple[nn.Module, list[int]]:
    """The classifier with its operating points, and the columns of the findings."""
    import torchxrayvision

    facts = torchxrayvision.models.model_urls[trained_on]
    network = torchxrayvision.models.DenseNet(num_classes=len(facts["labels"]))
    network.op_threshs = torch.tensor(facts["op_threshs"])
    return network, [facts["labels"].index(_XRV_NAMES.get(finding, finding)) for finding in FINDINGS]


def _build_race() -> nn.Module:
    import torchvision

    network = torchvision.models.resnet34(weights=None)
    network.fc = nn.Sequential(nn.Linear(512, len(RACE_ORDER)), nn.LogSoftmax(dim=1))
    return network


def _build_anatomy() -> tuple[nn.Module, list[int]]:
    from torchxrayvision.baseline_models.chestx_det import PSPNet
    from torchxrayvision.baseline_models.chestx_det.ptsemseg.pspnet import pspnet

    names = [name.lower() for name in PSPNet.targets]
    return pspnet(len(names)), [names.index(structure) for structure in STRUCTURES]


def _fill(network: nn.Module, path: Path, *, prefix: str = "") -> None:
    """Load tensors strictly; names may have the prefix of DataParallel."""
    try:
        with torch.serialization.safe_globals(_parts_of_the_classifier()):
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # truncated or hostile bytes raise many kinds
        raise WeightsError(
            f"{path} must hold the tensors of {type(network).__name__}",
            found=f"{type(error).__name__} when it was read",
            action=f"Take the file of this name from torchxrayvision's release v1 and put it into {path.parent}",
        ) from error
    try:
        state = module_tensors(state) if isinstance(state, nn.Module) else state
        state = {name.removeprefix(prefix): tensor for name, tensor in state.items() if name != "op_threshs"}
        places = {name for name in network.state_dict() if name != "op_threshs"}
        if set(state) != places:
            raise KeyError(f"{len(places - set(state))} missing, {len(set(state) - places)} unknown tensors")
        network.load_state_dict(state, strict=False)
    except (AttributeError, KeyError, RuntimeError, TypeError) as error:
        raise WeightsError(
            f"{path} must hold the tensors of {type(network).__name__}",
            found=str(error.args[0]).splitlines()[0] if isinstance(error, KeyError) else type(error).__name__,
            action=f"Take the file of this name from torchxrayvision's release v1 and put it into {path.parent}",
        ) from error


def module_tensors(module: nn.Module) -> dict[str, Tensor]:
    """The tensors of a module that was pickled by an older torch, without attributes that newer versions need."""
    for part in module.modules():
        vars(part).setdefault("_non_persistent_buffers_set", set())
        for hooks in ("_state_dict_hooks", "_state_dict_pre_hooks"):
            vars(part).setdefault(hooks, {})
    return dict(module.state_dict())


def _parts_of_the_classifier() -> list[Callable[..., Any] | tuple[Callable[..., Any], str]]:
    """The classes of a published classifier; none runs code of the file at loading."""
    from torchxrayvision import models

    own = [models.DenseNet, models._DenseBlock, models._DenseLayer, models._Transition]
    layers = [nn.Sequential, nn.Conv2d, nn.BatchNorm2d, nn.ReLU, nn.MaxPool2d, nn.AvgPool2d, nn.Linear]
    return [*own, *layers, set]


def _load_age(path: Path) -> nn.Module:
    """Open the age network, which torchxrayvision gives as TorchScript: a program of tensor operations."""
    try:
        return torch.jit.load(str(path), map_location="cpu")
    except Exception as error:
        raise WeightsError(
            f"{path} must be TorchScript",
            found=type(error).__name__,
            action=f"Take the file of this name from torchxrayvision's release v1 and put it into {path.parent}",
        ) from error


def _as_imagenet(images: Tensor) -> Tensor:
    """From torchxrayvision's range to ImageNet's mean and spread, three channels: as RaceModel, AgeModel and PSPNet."""
    mean, spread = (torch.tensor(values, device=images.device)[:, None, None] for values in _IMAGENET)
    return ((images + 1024) / 2048 - mean) / spread
