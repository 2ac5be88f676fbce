"""``vicinal compose``: a scenario as a Docker compose project.

``plan`` decides who there is and what each is told, ``services`` says it in the words of the compose
specification, ``text`` writes it as YAML, ``certificates`` signs, ``project`` puts the files in place and
``command`` is the command line. What can be committed (compose.yaml, mosquitto.conf) depends on the scenario
and the options only; what cannot (``secrets/``, ``.env``, ``runs/``) is made anew every time.
"""
