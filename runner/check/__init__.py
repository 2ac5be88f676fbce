"""``vicinal check``: a recorded run judged anew, from its record and its scenario alone."""
