"""The report: one HTML page of tables and pictures."""
