"""What holds for all tests."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

# What is printed is tested as it is where nobody has asked for colours, or for a width of the terminal.
for name in ("FORCE_COLOR", "NO_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "COLUMNS", "LINES"):
    os.environ.pop(name, None)

# Machines that others use stand still for a while now and then. How long an example takes says nothing of the
# law that it is an instance of; a law that never ends is ended by the time limit of its test.
# Nor must it hang on what is drawn today whether a change may land: the instances are the same in every run.
# To look for some that nobody has seen yet: pytest --hypothesis-profile=search
BY_THE_CLOCK = [HealthCheck.too_slow]
settings.register_profile("laws", derandomize=True, deadline=None, suppress_health_check=BY_THE_CLOCK)
settings.register_profile("search", settings.get_profile("laws"), derandomize=False, max_examples=500)
settings.load_profile("laws")
