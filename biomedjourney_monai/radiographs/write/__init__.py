"""Writing pictures: PNG, NIfTI, DICOM, and de-identification for export."""
