"""Ablations: a grid of settings, trained and scored with equal budgets."""
