"""Laws over random instances: the same instances each time, and no clock that judges them."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# Whether a change may land must not hang on what was drawn today, or on how busy the machine was. To look for
# instances that nobody has seen yet: pytest --hypothesis-profile=search
_BY_THE_CLOCK = [HealthCheck.too_slow]
settings.register_profile("same", derandomize=True, deadline=None, suppress_health_check=_BY_THE_CLOCK)
settings.register_profile("search", settings.get_profile("same"), derandomize=False, max_examples=500)
settings.load_profile("same")
