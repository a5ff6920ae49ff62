"""Ways into the hospital: DICOM out, export, archives."""
