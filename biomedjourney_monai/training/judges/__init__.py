"""Training the judges."""
