"""The language of phantom reports: a vocabulary, a voice that chooses from it, and statements built from both."""
