"""What the runner tells its user, cut by what there is to do about it."""

from __future__ import annotations


class UserError(Exception):
    """Something the user asked for cannot be done; the text says what and what is expected. Exit code 2."""


class RunFailed(Exception):
    """A run that started did not come to its end; the text names the agent and the cause. Exit code 1.

    What was recorded until then is readable in the run's directory.
    """


class Interrupted(Exception):
    """The user ended the run. Exit code 130."""
