"""Weights on disk: model files, and the formats of other projects."""
