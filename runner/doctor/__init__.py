"""``vicinal doctor``: whether this machine can run what is asked of it, and what to do if not."""
