"""Judges: frozen networks that score images."""
