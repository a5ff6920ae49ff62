"""Read radiograph files into arrays, and write arrays to files.

A radiograph in memory is float32 in [0, 1], shape (size, size), bright = dense, letterboxed in black. Image left is
the patient's right; nothing here mirrors.
"""

from biomedjourney_monai.radiographs.loading import load_radiograph, load_with_content
from biomedjourney_monai.radiographs.marking import NOT_FOR_DIAGNOSIS, mark_synthetic
from biomedjourney_monai.radiographs.read.pixels import original_size
from biomedjourney_monai.radiographs.scaling import content_box, letterbox, restore, scale_intensity
from biomedjourney_monai.radiographs.write.png import read_mask, read_png, save_png

__all__ = [
    "NOT_FOR_DIAGNOSIS",
    "content_box",
    "letterbox",
    "load_radiograph",
    "load_with_content",
    "mark_synthetic",
    "original_size",
    "read_mask",
    "read_png",
    "restore",
    "save_png",
    "scale_intensity",
]
