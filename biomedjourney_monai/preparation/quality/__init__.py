"""What a preparation kept and dropped: counts, reasons, one HTML page."""
