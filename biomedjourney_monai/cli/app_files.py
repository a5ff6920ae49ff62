"""The files that the web page hands out: pictures, DICOM, a report, and all of them in one archive.

Their names are fixed: nothing that was sent becomes part of one.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from biomedjourney_monai.cli.counterfactual_maker import Prior, finished_picture

if TYPE_CHECKING:
    from biomedjourney_monai.clinic.web.uploads import Upload

PICTURE, DICOM, REPORT, ARCHIVE = "counterfactual.png", "counterfactual.dcm", "report.html", "all.zip"
NO_CLOCK = (1980, 1, 1, 0, 0, 0)
"""For the archive's entries, so that the same request gives the same bytes."""


def make_files(
    prior: Prior, upload: Upload, drawn: Any, answer: Mapping[str, Any], *, judges: Mapping[str, Any]
) -> dict[str, bytes]:
    """The files of one request by name.

    Args:
        prior: what it was made of.
        upload: where DICOM's patient and study come from.
        drawn: images, seeds and metadata (`app_requests`).
        answer: what the page shows.
        judges: who judged.
    """
    from biomedjourney_monai.clinic.web.page import render_report

    every: dict[str, bytes] = {}
    for number, (image, facts) in enumerate(zip(drawn.images, drawn.metadata), start=1):
        picture = finished_picture(image, prior)
        every[_numbered(PICTURE, number)] = _png(picture, facts)
        every[_numbered(DICOM, number)] = _dicom(picture, facts, upload, number=number, drawn=drawn)
    every[REPORT] = render_report({**answer, "judges": judges})
    every |= _maps(prior, drawn)
    told = {**drawn.metadata[0], "judges": judges, "findings": answer["findings"], "warnings": answer["warnings"]}
    every["request.json"] = json.dumps(told, indent=2, sort_keys=True).encode()
    chosen = {name: every[name] for name in (PICTURE, DICOM, REPORT)}
    return {**chosen, ARCHIVE: _archive(every)}


def _numbered(name: str, number: int) -> str:
    stem, suffix = name.split(".")
    return name if number == 1 else f"{stem}-{number:02d}.{suffix}"


def _png(picture: Any, facts: Mapping[str, Any]) -> bytes:
    from biomedjourney_monai.radiographs.write.png import png_bytes

    return png_bytes(picture, metadata=facts)


def _dicom(picture: Any, facts: Mapping[str, Any], upload: Upload, *, number: int, drawn: Any) -> bytes:
    from biomedjourney_monai.radiographs.write.dicom import counterfactual_dataset, from_plain_bytes, to_bytes

    count = len(drawn.images)
    source = from_plain_bytes(upload.source) if upload.source else None
    series = {**drawn.metadata[0], "samples": count} if count > 1 else None
    return to_bytes(counterfactual_dataset(picture, facts, source, number=number, series_facts=series))


def _maps(prior: Prior, drawn: Any) -> dict[str, bytes]:
    """Mean and standard deviation of several samples, and the region, at the prior's size."""
    from biomedjourney_monai.generation.uncertainty import spread_of
    from biomedjourney_monai.radiographs import restore
    from biomedjourney_monai.radiographs.pictures.maps import colour_png_bytes, overlay_map

    facts, made, hw = drawn.metadata[0], {}, prior.original_hw
    if len(drawn.images) > 1:
        spread = spread_of(drawn.images)
        highest = float(spread.deviation.max())
        several = {**facts, "samples": len(drawn.seeds), "seed": f"{drawn.seeds[0]}-{drawn.seeds[-1]}"}
        made["mean.png"] = _png(finished_picture(spread.mean, prior), several)
        caption = f"standard deviation of {len(drawn.seeds)} samples: 0 to {highest:.2f}"
        picture = overlay_map(restore(spread.mean, hw), restore(spread.deviation, hw), highest=highest, caption=caption)
        made["sigma.png"] = colour_png_bytes(picture, metadata=several)
    if drawn.made.region is not None:
        shown = drawn.made.region if drawn.made.relevance is None else drawn.made.relevance * (drawn.made.region > 0)
        values = restore(shown[0, 0].cpu().numpy(), hw)
        picture = overlay_map(restore(prior.image, hw), values, highest=1.0, caption="where change is allowed")
        made["region.png"] = colour_png_bytes(picture, metadata=facts)
    return made


def _archive(files: Mapping[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name, NO_CLOCK)
            entry.compress_type = zipfile.ZIP_STORED if name.endswith(".png") else zipfile.ZIP_DEFLATED
            archive.writestr(entry, content)
    return stream.getvalue()
