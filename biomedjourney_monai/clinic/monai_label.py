"""The transforms that a MONAI Label server (0.8.5) runs around the inferer: a request in, a finished file out.

The server passes the whole request to every transform, so the description and the seed are read there. It overwrites a
request's `description` with that of the bundle, hence the name `progression_description`. Its writer supports neither
marks in metadata nor DICOM of a patient, so the file is written here, and the server receives its name.
"""

import logging
import os
import re
import tempfile
from collections.abc import Hashable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import Compose, MapTransform

from biomedjourney_monai.errors import BiomedJourneyError, ImageError
from biomedjourney_monai.generation.finish import FinishPictured
from biomedjourney_monai.generation.model import CounterfactualModel
from biomedjourney_monai.generation.outcomes import log_codes
from biomedjourney_monai.generation.prior import Prior
from biomedjourney_monai.generation.request import Checked, Request
from biomedjourney_monai.generation.writer import PictureWriter, suffix_like

logger = logging.getLogger(__name__)

DESCRIPTION, SEED, CHECKED = "progression_description", "seed", "checked"
SUFFIXES = (".png", ".dcm", ".nii", ".nii.gz")
REFUSED = 422
"""The HTTP status of a refusal; its text is the answer's `detail`."""

_UPLOAD = re.compile(r"tmp[a-z0-9_]{8}(\..*)?")
"""The server's names of uploads, in the folder for temporary files."""


class WrittenFile(str):
    """The path of a finished file instead of an array: the server reads the shape of its results."""

    shape: tuple[int, ...] = ()
    dtype = "file"


class ReadRequestd(MapTransform):
    """Read the prior, the description and the seed of a request, and check them.

    Args:
        keys: the entry of the prior's path; a folder must hold one file, as a DICOM series of one radiograph does.
        preprocessing: the transforms by which an inference run reads a path.
        seed: default for requests without a seed.
        force: overrule refusals.
    """

    def __init__(
        self,
        keys: KeysCollection,
        *,
        model: CounterfactualModel,
        preprocessing: Compose,
        seed: int = 0,
        force: bool = False,
    ) -> None:
        super().__init__(keys)
        self.model, self.preprocessing, self.seed, self.force = model, preprocessing, seed, force

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        read = dict(data)
        (key,) = self.key_iterator(read)
        with _refusals_as_answers(read[key]):
            text, seed = _description(read), _seed(read.get(SEED, self.seed))
            _suffix(read, read[key])  # refused before anything is generated
            read[key] = _one_file(read[key])
            checked = self.model.check(Request(read[key], text, seed=seed, force=self.force))
            for warning in checked.warnings:
                log_codes(logger, warning)
            read[CHECKED] = checked
            for transform in self.preprocessing.transforms:  # Compose would wrap a refusal in its own error
                read = transform(read)
            read[key].meta |= {"description": checked.text, "seed": seed}
        return read


class WriteResultd(MapTransform):
    """Write the marked counterfactual at the prior's own size, in the requested format, and return the file's name.

    The format is the request's `result_extension`, or that of the prior: DICOM of the same patient and study, NIfTI in
    the same voxel grid, PNG for photographs.

    Args:
        keys: generated squares, shape (1, S, S), in [0, 1].
        reference: the key of the prior.
    """

    def __init__(self, keys: KeysCollection, *, model: CounterfactualModel, reference: str = "image") -> None:
        super().__init__(keys)
        self.model, self.finish = model, FinishPictured(keys, reference=reference, detail=model.detail)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        checked: Checked = data[CHECKED]
        file = str(checked.prior.file)
        facts, reviewed = self.model.documents(checked)[0], dict(data)
        for key in self.key_iterator(reviewed):
            if checked.draws_nothing:
                reviewed[key] = torch.from_numpy(checked.prior.image)[None]
            for warning in self.model.warn_after(checked, np.asarray(torch.as_tensor(reviewed[key]).cpu())):
                log_codes(logger, warning)
        with _refusals_as_answers(file):
            written = self.finish(reviewed)
            for key in self.key_iterator(data):
                written[key] = _write(np.asarray(written[key])[0], facts, checked.prior, _suffix(data, file))
        return {**written, "result_write_to_file": False}


def _write(picture: np.ndarray, facts: Mapping[str, Any], prior: Prior, suffix: str) -> WrittenFile:
    """Write to a temporary file, which the server removes after sending it."""
    handle, name = tempfile.mkstemp(suffix=suffix)
    os.close(handle)
    try:
        PictureWriter(prior).write(name, picture, facts)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return WrittenFile(name)


def _description(request: Mapping[Hashable, Any]) -> str:
    text = request.get(DESCRIPTION)
    if not isinstance(text, str):
        rule = f"a request must have the parameter {DESCRIPTION}"
        found = "none" if text is None else type(text).__name__
        raise BiomedJourneyError(rule, found=found, action="Describe what changes")
    return text


def _seed(value: object) -> int:
    if isinstance(value, bool) or not re.fullmatch("[0-9]{1,19}", str(value)) or int(str(value)) >= 2**63:
        found = str(value)[:20] if isinstance(value, (int, float)) else type(value).__name__
        raise BiomedJourneyError("seed must be a non-negative 64-bit integer", found=found)
    return int(str(value))


def _suffix(request: Mapping[Hashable, Any], file: str) -> str:
    suffix = request.get("result_extension")
    if not suffix:
        return suffix_like(_one_file(file))
    if suffix not in SUFFIXES:
        found = repr(suffix)[:20]
        raise BiomedJourneyError(f"result_extension must be one of {', '.join(SUFFIXES)}", found=found)
    return str(suffix)


def _one_file(path: str) -> str:
    """The path itself, or the one file in a folder."""
    if not Path(path).is_dir():
        if not Path(path).is_file():
            raise ImageError("an image file must exist", found="no such file", reason="image file missing")
        return path
    files = [file for file in sorted(Path(path).iterdir()) if file.is_file()]
    if len(files) != 1:
        found = f"{len(files)} images"
        raise ImageError("a series must hold one radiograph", found=found, action="Name a series of one image")
    return str(files[0])


@contextmanager
def _refusals_as_answers(file: object) -> Iterator[None]:
    """Answer a refusal with its text, instead of the server's "Internal Server Error", and remove the upload.

    The server itself removes uploads only after a successful answer.
    """
    from fastapi import HTTPException

    try:
        yield
    except Exception as error:
        path = Path(str(file))
        if path.parent == Path(tempfile.gettempdir()) and _UPLOAD.fullmatch(path.name):
            path.unlink(missing_ok=True)
        if not isinstance(error, BiomedJourneyError):
            raise
        raise HTTPException(REFUSED, detail=str(error)) from None
