"""``vicinal deviate``: what an agent gains or loses by not playing by the rule."""
