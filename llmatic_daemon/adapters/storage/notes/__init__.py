"""Small files of a state folder that a daemon leaves for other commands."""
