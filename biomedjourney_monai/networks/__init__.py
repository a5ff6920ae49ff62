"""Autoencoder, denoiser, text encoder and the generator that joins them; reading and writing weights."""
