"""Conditioning, guidance, samplers and the inferer."""
