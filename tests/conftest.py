"""What holds for all tests."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# Machines that others use stand still for a while now and then. How long an example takes says nothing of the
# law that it is an instance of; a law that never ends is ended by the time limit of its test.
settings.register_profile("laws", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("laws")
