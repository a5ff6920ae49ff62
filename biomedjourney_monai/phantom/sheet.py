"""A contact sheet: one row for each patient, one column for each finding."""

from pathlib import Path

import cv2
import numpy as np

from biomedjourney_monai.errors import ConfigError
from biomedjourney_monai.files import written_atomically
from biomedjourney_monai.phantom.anatomy import draw_anatomy
from biomedjourney_monai.phantom.findings import FindingState
from biomedjourney_monai.phantom.physics import draw_acquisition
from biomedjourney_monai.phantom.render import render

SHEET_STATES: tuple[tuple[str, FindingState], ...] = (
    ("no finding", FindingState()),
    ("mild cardiomegaly", FindingState(cardiomegaly=1)),
    ("severe cardiomegaly", FindingState(cardiomegaly=3)),
    ("mild edema", FindingState(edema=1)),
    ("severe edema", FindingState(edema=3, cardiomegaly=1)),
    ("small left effusion", FindingState(effusion_left=1)),
    ("large right effusion", FindingState(effusion_right=3)),
    ("mild left atelectasis", FindingState(atelectasis_left=1)),
    ("severe right atelectasis", FindingState(atelectasis_right=3)),
    ("small right pneumothorax", FindingState(pneumothorax_right=1)),
    ("large left pneumothorax", FindingState(pneumothorax_left=3)),
)


def write_contact_sheet(path: str | Path, *, seed: int = 0, size: int = 256) -> None:
    """Draw a contact sheet of eight patients into a PNG or JPEG file.

    Raises:
        ConfigError: if the suffix is another one.
    """
    path = Path(path)
    if path.suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise ConfigError("--sheet must name a PNG or JPEG file", found=path.suffix or "no suffix")
    with written_atomically(path, public=True) as temporary:
        cv2.imwrite(str(temporary), contact_sheet(8, seed, size), [cv2.IMWRITE_JPEG_QUALITY, 85])


def contact_sheet(n_patients: int, seed: int, size: int = 256) -> np.ndarray:
    """Render patients × `SHEET_STATES`, the same visit in every column.

    Returns:
        Grey, uint8, shape (n_patients · size, len(SHEET_STATES) · size).
    """
    rng = np.random.default_rng([int(seed), 6])
    rows = []
    for k in range(n_patients):
        anatomy = draw_anatomy(
            int(rng.integers(1 << 31)), sex="FM"[k % 2], age=float(np.clip(rng.normal(58, 18), 19, 92)), group=k % 3
        )
        acquisition = draw_acquisition(int(rng.integers(1 << 31)))
        row = [render(anatomy, acquisition, state, size=size).image for _, state in SHEET_STATES]
        rows.append(np.concatenate(row, axis=1))
    return np.round(np.concatenate(rows) * 255).astype(np.uint8)
