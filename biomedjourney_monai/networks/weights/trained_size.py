"""The size of the images that weights were trained on."""

import json
from pathlib import Path

from biomedjourney_monai.networks.weights.model_file import load_info

IMAGE_SIZE_KEY = "image_size"
"""In the facts of a weights file: the side of the images, in pixels."""


def trained_size(bundle_root: str | Path, model_file: str | Path) -> int | None:
    """The side of the images that weights were trained on, in pixels, from their file or the bundle's metadata.

    Args:
        bundle_root: the bundle's folder. Its metadata describe its own `models/model.pt`.
        model_file: the weights.

    Returns:
        None if neither states it, or if there is no such file.

    Raises:
        WeightsError: if the file cannot be read.
    """
    root, file = Path(bundle_root), Path(model_file)
    if not file.is_file():
        return None
    size = load_info(file).get(IMAGE_SIZE_KEY)
    if isinstance(size, int) and size > 0:
        return size
    metadata, own = root / "configs" / "metadata.json", root / "models" / "model.pt"
    if not (metadata.is_file() and own.is_file() and own.samefile(file)):
        return None
    content = json.loads(metadata.read_text(encoding="utf-8"))
    return int(content["network_data_format"]["inputs"]["image"]["spatial_shape"][0])
