"""``vicinal page``: a run to look at, while it goes on or afterwards.

A passive onlooker: it reads the run's directory and, while the run goes on, hears the agents' measurements at
the broker with a user that may say nothing (``broker.access.observer_grant``). No agent knows of it.

``scene`` reads what is fixed before the run starts, ``layout`` places the agents, ``frames`` keeps what they
measured at a resolution that a screen can show, ``follow`` fills it from the directory and the broker,
``server`` serves it to browsers on this machine, ``static/`` is what they show and ``command`` the command
line.
"""
