"""From a request to a picture: check, generate, document, save."""
