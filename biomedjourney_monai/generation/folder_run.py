"""The requests of the bundle's inference run, and their outcomes.

A request that cannot be served is counted by its reason, and the run continues. A picture that exists with the same
metadata is kept, so the same command resumes a stopped run. Files are named by the number of the request; neither names
nor logs identify a patient.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from biomedjourney_monai.errors import BiomedJourneyError, ConfigError
from biomedjourney_monai.generation.model import CounterfactualModel
from biomedjourney_monai.generation.outcomes import (
    KEPT,
    MADE,
    NOT_TRIED,
    count_outcomes,
    log_codes,
    noting,
    reason_of,
    write_outcomes,
)
from biomedjourney_monai.generation.prior import read_prior
from biomedjourney_monai.generation.request import Checked, Request
from biomedjourney_monai.generation.request_table import PriorRequest
from biomedjourney_monai.generation.writer import PictureWriter, suffix_like

if TYPE_CHECKING:
    from monai.engines import Evaluator

logger = logging.getLogger(__name__)

FORMATS = ("png", "prior")
RESULTS = "results.csv"


class FolderRun:
    """Checks all requests before the first is generated, writes the pictures, and counts the outcomes.

    Args:
        requests: of `request_table.list_requests`.
        output_dir: folder to write to.
        output_format: "png", or "prior" for the format of each prior: DICOM, NIfTI, and PNG for photographs.
        region: None, "auto" or a mask's path.
        force: overrule refusals.

    Raises:
        ConfigError: for another format, or if the output folder is that of the priors.
    """

    def __init__(
        self,
        model: CounterfactualModel,
        requests: list[PriorRequest],
        *,
        output_dir: str | Path,
        output_format: str = "png",
        region: str | None = None,
        force: bool = False,
    ) -> None:
        if output_format not in FORMATS:
            raise ConfigError(f"output_format must be one of {', '.join(FORMATS)}", found=str(output_format)[:20])
        if any(Path(request.image).parent.resolve() == Path(output_dir).resolve() for request in requests):
            found = "the priors' folder"
            raise ConfigError("--output_dir must be another folder", found=found, action="Pass another folder")
        self.model, self.requests, self.output_dir = model, requests, Path(output_dir)
        self.output_format, self.region, self.force = output_format, region, force
        self.outcomes = [NOT_TRIED] * len(requests)
        self.files = [""] * len(requests)
        self._facts: dict[int, dict[str, Any]] = {}
        self.codes = [""] * len(requests)
        self._checked: dict[int, Checked] = {}
        self._todo: list[dict[str, Any]] | None = None

    def datalist(self) -> list[dict[str, Any]]:
        """The requests to generate: `image`, `description`, `seed` and `number` of each.

        Raises:
            BiomedJourneyError: if the only request is refused.
        """
        if self._todo is None:
            self._todo = []
            for number, request in enumerate(self.requests):
                try:
                    if self._is_done(number, request):
                        self.outcomes[number] = KEPT
                        continue
                except BiomedJourneyError as error:
                    if len(self.requests) == 1:
                        raise
                    self.outcomes[number] = reason_of(error, otherwise="request unusable")
                    continue
                entry = {"description": self._checked[number].text, "seed": request.seed, "number": number}
                self._todo.append({"image": request.image, **entry})
        return self._todo

    def review(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """Warn of what was drawn, `pred`, shape (1, S, S); where nothing can be drawn, put the prior in its place."""
        number = int(data["image"].meta["number"])
        checked, reviewed = self._checked.pop(number), dict(data)
        if checked.draws_nothing:
            reviewed["pred"] = torch.from_numpy(checked.prior.image)[None]
        for warning in self.model.warn_after(checked, np.asarray(reviewed["pred"].cpu(), np.float32)):
            noting(partial(log_codes, logger), self.codes, number)(warning)
        return reviewed

    def save(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """Write the marked picture `pred`, shape (1, H, W), whose metadata hold the request's number."""
        number = int(data["pred"].meta["number"])
        writer = PictureWriter(read_prior(self.requests[number].image, size=self.model.size))
        writer.write(self.output_dir / self.files[number], np.asarray(data["pred"])[0], self._facts[number])
        self.outcomes[number] = MADE
        return dict(data)

    def run(self, evaluator: Evaluator) -> None:
        """Run the evaluator over `datalist`, and write the outcomes even if it is stopped.

        Raises:
            ConfigError: if no request of several is usable.
        """
        try:
            if self.datalist():
                evaluator.run()
        finally:
            if set(self.outcomes) - {NOT_TRIED}:
                write_outcomes(self.output_dir / RESULTS, self.outcomes, self.files, codes=self.codes)
        good, count, refused = count_outcomes(self.outcomes, (MADE, KEPT))
        if not any(good.values()):
            raise ConfigError("an image of the folder must be usable", found=refused)
        line = f"{good[MADE]} made, {good[KEPT]} kept, {count} refused" + (f": {refused}" if refused else "")
        logger.log(logging.WARNING if refused else logging.INFO, line)

    def _is_done(self, number: int, request: PriorRequest) -> bool:
        """Check a request, and whether its picture exists already."""
        if request.error is not None:
            raise request.error
        checked = self.model.check(
            Request(request.image, request.description, seed=request.seed, region=self.region, force=self.force)
        )
        for warning in checked.warnings:
            noting(partial(log_codes, logger), self.codes, number)(warning)
        self._checked[number] = checked
        self._facts[number] = self.model.documents(checked)[0]
        suffix = ".png" if self.output_format == "png" else suffix_like(request.image)
        self.files[number] = f"counterfactual-{number:04d}{suffix}"
        return PictureWriter(request.image).is_written(self.output_dir / self.files[number], self._facts[number])
