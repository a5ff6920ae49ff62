"""The web page: its server, requests and answers."""
