"""Candidates as text: what a writer is asked, and how its answer is read."""
