"""Aligning the new image to the prior image, and scoring the result."""
