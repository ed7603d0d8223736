"""The words that a person types."""

from llmatic_daemon.cli import health, prompts, searches
from llmatic_daemon.cli.base import main

__all__ = ["health", "main", "prompts", "searches"]
