"""Reading radiology reports: sections, statements, labels."""
