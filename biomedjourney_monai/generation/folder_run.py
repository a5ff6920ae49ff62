"""The requests of an inference run, and what becomes of each.

A request that cannot be served is counted by its reason and ends nothing; what is there, made in the same way, is kept,
so the same command goes on where it stopped. Files are named after the request's place in the list, and neither they
nor what is logged tells of a patient.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from biomedjourney_monai.errors import BiomedJourneyError, ConfigError
from biomedjourney_monai.files import written_atomically
from biomedjourney_monai.generation.prior_check import check_prior
from biomedjourney_monai.generation.provenance import request_facts
from biomedjourney_monai.generation.region import read_region
from biomedjourney_monai.generation.request_table import PriorRequest
from biomedjourney_monai.generation.writer import PictureWriter, suffix_like
from biomedjourney_monai.radiographs import load_radiograph, mark_synthetic, original_size
from biomedjourney_monai.radiographs.read.marked_files import carries_mark
from biomedjourney_monai.radiographs.scaling import restore

logger = logging.getLogger(__name__)

MADE, KEPT, NOT_TRIED = "made", "kept", "not tried"
FORMATS = ("png", "prior")
RESULTS = "results.csv"


class FolderRun:
    """Checks every request before the first is generated, writes what is made, and says what became of each.

    Args:
        requests: of `prior_list.list_requests`.
        output_dir: folder to write to.
        size: side of the model's square, in pixels.
        made_by: of `provenance`.
        output_format: "png", or "prior" for that of each prior: DICOM, NIfTI, and PNG for photographs.
        region: as `read_region` takes it.
        force: overrule refusals.
        check_description: raises an error with a `reason`, or returns the reason that was overruled.

    Raises:
        ConfigError: for another format, or if the folder is the priors' own.
    """

    def __init__(
        self,
        requests: list[PriorRequest],
        *,
        output_dir: str | Path,
        size: int,
        made_by: Mapping[str, Any],
        output_format: str = "png",
        region: str | None = None,
        force: bool = False,
        check_description: Callable[[str], str] = lambda text: "",
    ) -> None:
        if output_format not in FORMATS:
            raise ConfigError(f"output_format must be one of {', '.join(FORMATS)}", found="another word")
        if any(Path(request.image).parent.resolve() == Path(output_dir).resolve() for request in requests):
            raise ConfigError(
                "--output_dir must not be the priors' folder", found="the same", action="Pass another folder"
            )
        self.requests, self.output_dir, self.size, self.made_by = requests, Path(output_dir), size, made_by
        self.output_format, self.region, self.force = output_format, region, force
        self.check_description = check_description
        self.outcomes = [NOT_TRIED] * len(requests)
        self.files = [""] * len(requests)
        self._facts: dict[int, dict[str, Any]] = {}
        self._todo: list[dict[str, Any]] | None = None

    def datalist(self) -> list[dict[str, Any]]:
        """What is still to be made: `image`, `description`, `seed` and `number` of each request.

        Raises:
            BiomedJourneyError: the refusal itself, where there is one request.
        """
        if self._todo is None:
            self._todo = []
            for number, request in enumerate(self.requests):
                try:
                    done = self._is_done(number, request)
                except BiomedJourneyError as error:
                    if len(self.requests) == 1:
                        raise
                    self.outcomes[number] = getattr(error, "reason", "") or "request unusable"
                    continue
                if done:
                    self.outcomes[number] = KEPT
                else:
                    told = {"description": request.description, "seed": request.seed, "number": number}
                    self._todo.append({"image": request.image, **told})
        return self._todo

    def save(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """Write the marked picture `pred`, shape (1, H, W), whose meta data hold the request's number."""
        number = int(data["pred"].meta["number"])
        writer = PictureWriter(self.requests[number].image)
        writer.write(self.output_dir / self.files[number], np.asarray(data["pred"])[0], self._facts[number])
        self.outcomes[number] = MADE
        return dict(data)

    def run(self, evaluator: Any) -> None:
        """Run the evaluator over `datalist`, and write the outcomes, also where it is stopped.

        Raises:
            ConfigError: if no request of several is usable.
        """
        try:
            if self.datalist():
                evaluator.run()
        finally:
            if set(self.outcomes) - {NOT_TRIED}:
                self._write_outcomes()
        counts = Counter(self.outcomes)
        made, kept = counts.pop(MADE, 0), counts.pop(KEPT, 0)
        refused = ", ".join(f"{count} {reason}" for reason, count in sorted(counts.items()))
        if not made and not kept:
            raise ConfigError("an image of the folder must be usable", found=refused)
        told = f"{made} made, {kept} kept, {counts.total()} refused" + (f": {refused}" if refused else "")
        logger.log(logging.WARNING if refused else logging.INFO, told)

    def _is_done(self, number: int, request: PriorRequest) -> bool:
        """Read and check a request; whether its picture is there already."""
        if request.error is not None:
            raise request.error
        told = self.check_description(request.description)
        prior = load_radiograph(request.image, size=self.size)
        overruled = check_prior(prior, is_marked=carries_mark(request.image), force=self.force)
        hw = original_size(request.image)
        mark_synthetic(restore(prior, hw))  # too small for the mark: refused before anything is generated
        read_region(self.region, size=self.size, prior_hw=hw)
        self._facts[number] = request_facts(
            self.made_by,
            description=request.description,
            seed=request.seed,
            prior=prior,
            overruled=(overruled, told),
        )
        suffix = ".png" if self.output_format == "png" else suffix_like(request.image)
        self.files[number] = f"counterfactual-{number:04d}{suffix}"
        return PictureWriter(request.image).is_written(self.output_dir / self.files[number], self._facts[number])

    def _write_outcomes(self) -> None:
        lines = ["row,outcome,file"]
        for number, (outcome, file) in enumerate(zip(self.outcomes, self.files), start=1):
            lines.append(f"{number},{outcome},{file if outcome in (MADE, KEPT) else ''}")
        with written_atomically(self.output_dir / RESULTS) as temporary:
            temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
