"""The files that the web page offers: pictures, DICOM, a report, and all of them in one archive.

Their names are fixed: nothing that was sent becomes part of a name.
"""

import io
import json
import zipfile
from collections.abc import Mapping
from typing import Any

from biomedjourney_monai.clinic.web.page import render_report
from biomedjourney_monai.generation.result import Result
from biomedjourney_monai.generation.sample_files import map_files
from biomedjourney_monai.generation.writer import PictureWriter
from biomedjourney_monai.radiographs.write.dicom import to_bytes
from biomedjourney_monai.radiographs.write.png import png_bytes

PICTURE, DICOM, REPORT, ARCHIVE = "counterfactual.png", "counterfactual.dcm", "report.html", "all.zip"
NO_CLOCK = (1980, 1, 1, 0, 0, 0)
"""The time of the archive's entries: the same request gives the same bytes."""


def make_files(result: Result, answer: Mapping[str, Any], *, judges: Mapping[str, Any] | None) -> dict[str, bytes]:
    """The files of one request by name; `answer` is what the page shows, `judges` their provenance, None for none."""
    every: dict[str, bytes] = {}
    writer = PictureWriter(result.prior)
    for number, (picture, facts) in enumerate(zip(result.images, result.documents, strict=True), start=1):
        every[_numbered(PICTURE, number)] = png_bytes(picture, metadata=facts)
        dataset = writer.dataset(picture, facts, number=number, series_facts=result.series_facts)
        every[_numbered(DICOM, number)] = to_bytes(dataset)
    every[REPORT] = render_report({**answer, "judges": judges})
    every |= {f"{word}.png": content for word, content in map_files(result).items()}
    asked = {**result.documents[0], "judges": judges, **{name: answer[name] for name in ("findings", "warnings")}}
    every["request.json"] = json.dumps(asked, indent=2, sort_keys=True).encode()
    chosen = {name: every[name] for name in (PICTURE, DICOM, REPORT)}
    return {**chosen, ARCHIVE: _archive(every)}


def _numbered(name: str, number: int) -> str:
    stem, suffix = name.split(".")
    return name if number == 1 else f"{stem}-{number:02d}.{suffix}"


def _archive(files: Mapping[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name, NO_CLOCK)
            entry.compress_type = zipfile.ZIP_STORED if name.endswith(".png") else zipfile.ZIP_DEFLATED
            archive.writestr(entry, content)
    return stream.getvalue()
