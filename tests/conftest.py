"""What holds for all tests."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# Machines that others use stand still for a while now and then. How long an example takes says nothing of the
# law that it is an instance of; a law that never ends is ended by the time limit of its test.
# Nor must it hang on what is drawn today whether a change may land: the instances are the same in every run.
# To look for some that nobody has seen yet: pytest --hypothesis-profile=search
BY_THE_CLOCK = [HealthCheck.too_slow]
settings.register_profile("laws", derandomize=True, deadline=None, suppress_health_check=BY_THE_CLOCK)
settings.register_profile("search", settings.get_profile("laws"), derandomize=False, max_examples=500)
settings.load_profile("laws")
