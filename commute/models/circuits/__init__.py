"""Circuits: computation graphs of networks, and runs in which some of their edges carry other values."""
