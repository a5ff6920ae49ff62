"""Counterfactual chest radiographs from a prior image and a progression description."""

__version__ = "0.1.0"
