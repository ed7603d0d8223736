"""Prompt files: parser and folder watcher."""
