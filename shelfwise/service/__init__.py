"""Shelfwise over HTTP: an API for shops and pages for merchandisers."""
