"""The child process of `uploads`: reads one image from standard input within limits, and writes arrays.

`python -m biomedjourney_monai.clinic.web.upload_reader SIZE [preview] < FILE` writes an `.npz` to standard output; for
a refused image it writes JSON and exits with the status `REFUSED`.
"""

from __future__ import annotations

import io
import json
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

REFUSED = 3
MAX_PIXELS = 40_000_000
"""The largest chest detectors have fewer than 20 million."""

PREVIEW_SIDE = 1024
MEMORY_BYTES = 2 * 1024**3
CPU_SECONDS = 30
MAX_SOURCE_BYTES = 65536
"""Without look-up tables, which have up to 128 KiB each."""

ENVIRONMENT = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "OPENCV_IO_MAX_IMAGE_PIXELS": str(MAX_PIXELS)}
INPUT = "/dev/stdin"


def main() -> int:
    """Read and answer; returns the exit status."""
    size, with_preview = int(sys.argv[1]), "preview" in sys.argv[2:]
    _limit_resources()
    from biomedjourney_monai.errors import ImageError

    try:
        answer = _read(size, with_preview=with_preview)
    except ImageError as error:
        sys.stdout.write(json.dumps({"message": str(error), "reason": error.reason}))
        return REFUSED
    sys.stdout.buffer.write(answer)
    return 0


def _limit_resources() -> None:
    """Limit memory and time; write no file and no core dump."""
    import resource

    limits = {resource.RLIMIT_AS: MEMORY_BYTES, resource.RLIMIT_CPU: CPU_SECONDS}
    for kind, most in (limits | {resource.RLIMIT_FSIZE: 0, resource.RLIMIT_CORE: 0}).items():
        _, highest = resource.getrlimit(kind)
        limit = most if highest == resource.RLIM_INFINITY else min(most, highest)
        resource.setrlimit(kind, (limit, limit))


def _read(size: int, *, with_preview: bool) -> bytes:
    import numpy as np

    from biomedjourney_monai.errors import ImageError
    from biomedjourney_monai.radiographs import load_radiograph, original_size
    from biomedjourney_monai.radiographs.film import read_film
    from biomedjourney_monai.radiographs.read.marked_files import carries_mark
    from biomedjourney_monai.radiographs.read.pixels import named_in_header

    height, width = original_size(INPUT, any_body_part=True)
    if height * width > MAX_PIXELS:
        found = f"{width:,} × {height:,}"
        raise ImageError(f"an image must have at most {MAX_PIXELS:,} pixels", found=found, reason="image too large")
    parts: dict[str, Any] = {"image": load_radiograph(INPUT, size=size, any_body_part=True)}
    parts |= {"preview": _preview()} if with_preview else read_film(INPUT, size=size).arrays()
    source, facts = _source()
    parts["source"] = np.frombuffer(source, np.uint8)
    parts["facts"] = np.array([height, width, *facts, carries_mark(INPUT)])
    for name, text in zip(("body_part", "view"), named_in_header(INPUT)):
        parts[name] = np.frombuffer(text.encode(), np.uint8)
    stream = io.BytesIO()
    np.savez(stream, **parts)
    return stream.getvalue()


def _preview() -> np.ndarray:
    """The whole image in its own window, percentiles stretched, at screen resolution: uint8 (H, W)."""
    import cv2
    import numpy as np

    from biomedjourney_monai.radiographs import scale_intensity
    from biomedjourney_monai.radiographs.read.pixels import read_pixels

    pixels = read_pixels(INPUT, at_least=PREVIEW_SIDE, any_body_part=True)
    factor = min(1.0, PREVIEW_SIDE / max(pixels.shape))
    shape = tuple(max(1, round(side * factor)) for side in pixels.shape)
    small = cv2.resize(pixels, shape[::-1], interpolation=cv2.INTER_AREA) if factor < 1 else pixels
    return np.rint(scale_intensity(small, np.ones(shape, bool)) * 255).astype(np.uint8)


def _source() -> tuple[bytes, tuple[bool, bool]]:
    """The attributes that a DICOM file passes on, and whether it declares burned-in text and synthetic data."""
    from biomedjourney_monai.errors import ImageError
    from biomedjourney_monai.radiographs.write.dicom_source import SYNTHETIC_DATA, TABLES, read_source, to_plain_bytes

    source = read_source(INPUT)
    if source is None:
        return b"", (False, False)
    content = to_plain_bytes(source)
    tables = sum(len(item.get("LUTData") or b"") for name in TABLES for item in source.get(name) or ())
    if len(content) - 2 * tables > MAX_SOURCE_BYTES:
        found = f"{len(content):,} bytes"
        raise ImageError("a DICOM header must be of a usual size", found=found, reason="image damaged")
    burned_in = str(source.get("BurnedInAnnotation", "")).strip().upper() == "YES"
    synthetic = SYNTHETIC_DATA in source and str(source[SYNTHETIC_DATA].value).strip().upper() == "YES"
    return content, (burned_in, synthetic)


if __name__ == "__main__":
    sys.exit(main())
