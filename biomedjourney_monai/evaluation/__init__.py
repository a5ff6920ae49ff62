"""Evaluation: judges, metrics, baselines, tuning, ablation and the report."""
