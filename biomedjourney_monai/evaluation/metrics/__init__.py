"""Metrics: for each a function on arrays, a MONAI `Metric` and an Ignite handler."""
