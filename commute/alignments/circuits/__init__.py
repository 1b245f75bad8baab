"""Searching circuits: how much each edge of a computation graph seems to matter, and which are then kept."""
