"""How a prior's stored values are shown: the attributes that a counterfactual with such values needs too."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pydicom

SHOWN = ("PhotometricInterpretation", "PresentationLUTShape", "RescaleSlope", "RescaleIntercept", "RescaleType")
SHOWN += ("WindowCenter", "WindowWidth", "VOILUTFunction", "PixelPaddingValue", "PixelPaddingRangeLimit")
SHOWN += ("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod")
"""How stored values are shown; copied with the values. Explanations are not: they are free text."""

TABLES = {"ModalityLUTSequence": ("ModalityLUTType",), "VOILUTSequence": ()}
"""Look-up tables, each with what its items hold apart from the table."""


def show_like(dataset: pydicom.Dataset, source: pydicom.Dataset) -> None:
    """Copy how the prior's stored values are shown."""
    import pydicom

    for keyword in SHOWN:
        if keyword in source and source[keyword].value not in (None, ""):
            dataset[keyword] = source[keyword]
    for keyword, own in TABLES.items():
        items = source.get(keyword) or ()
        for item in items:
            kept = pydicom.Dataset()
            for name in ("LUTDescriptor", "LUTData", *own):
                if name in item:
                    kept[name] = item[name]
            setattr(dataset, keyword, [*dataset.get(keyword, []), kept])
