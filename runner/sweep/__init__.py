"""``vicinal sweep``: a grid of parameters and seeds, played over processes, resumable."""
