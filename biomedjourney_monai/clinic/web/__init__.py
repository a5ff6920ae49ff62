"""The web page: its server, its requests, and what it answers."""
