"""Cached latents, what the stock trainer is fed, and its handlers."""
