"""Training examples: the latent cache, live images, augmentation, order."""
