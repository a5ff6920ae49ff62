"""Weights of the same networks under other names: diffusers, CompVis, monai-generative. Names only, nothing is read."""
