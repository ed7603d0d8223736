"""Candidates as text: requests to a writer, and parsers of its answers."""
