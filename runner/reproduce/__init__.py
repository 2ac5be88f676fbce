"""Published figures, computed again from runs of this project's own agents: ``vicinal reproduce``.

``cases`` says what is played, ``play`` plays it and ``curve`` keeps it on disk; whatever is shown is made
from that record alone: ``figures`` draws it, ``verdicts`` holds it against ``published``.
"""
