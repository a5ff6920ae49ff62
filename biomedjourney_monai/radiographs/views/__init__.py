"""Check that an image is an upright frontal chest film."""
