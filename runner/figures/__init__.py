"""Figures of recorded runs: ``vicinal plot``, and the picture that every run leaves in its directory."""
