"""Read pixels and headers: DICOM, NIfTI, JPEG, PNG."""
