"""Sampling: guidance, solvers, controls of sampling and MONAI's inferer."""
