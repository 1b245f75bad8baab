"""How you ask: the command line."""
