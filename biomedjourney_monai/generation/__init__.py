"""From a request to a picture: check, generate, document, save. Commands, servers and the bundle all use it."""
