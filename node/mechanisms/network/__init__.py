"""Network mechanisms (thesis chapters 1 to 3): shares of links, spectrum or power under hard capacities.

One mechanism a module: ``unicast``, ``multicast``, ``linear``; one module for what they share:
``valuations``, ``links``, ``prices``. ``sequential`` plays all agents in one place. ``optimum`` and
``checks`` judge from outside; no agent uses them.
"""
