"""The engine: the order of steps in a candidate's life."""
