"""What each command except `run` does, from start to end; one module a command."""
