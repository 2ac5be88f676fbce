"""What an agent is doing: the values of ``Agent.state``. What it tells of them is in ``node.status``."""

JOINING, PLAYING, LINGERING, GONE = "joining", "playing", "lingering", "gone"
