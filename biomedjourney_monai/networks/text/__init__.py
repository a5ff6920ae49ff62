"""The frozen text encoder and the folders it is loaded from."""
