"""Ignite handlers of a training: checkpoints, previews, tracking, interruption."""
