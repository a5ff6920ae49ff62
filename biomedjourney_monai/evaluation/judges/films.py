"""The judges of real films: a classifier that `train-judges --work` trained on a cohort, and shared outlines."""

from pathlib import Path

import torch
from torch import Tensor

from biomedjourney_monai.evaluation.judges.domain import FeatureDomain
from biomedjourney_monai.evaluation.judges.film_classifier import FilmClassifier
from biomedjourney_monai.evaluation.judges.lung_outlines import (
    LUNG_OUTLINES_FILE,
    LungOutlines,
    load_lung_outlines,
)
from biomedjourney_monai.evaluation.judges.networks import PhantomSegmenter
from biomedjourney_monai.evaluation.judges.phantom import (
    SEGMENTER_FILE,
    PhantomJudges,
    classifier_file,
    domain_file,
    load_weights,
)
from biomedjourney_monai.evaluation.judges.trusted import read_trusted
from biomedjourney_monai.schema import CHEXPERT_LABELS, FINDINGS, STRUCTURES

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
