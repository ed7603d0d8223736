"""Prompt files, and their edits while a search runs."""
