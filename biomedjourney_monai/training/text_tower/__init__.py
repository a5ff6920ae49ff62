"""Training and probing the small text tower."""
