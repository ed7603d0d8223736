"""The words that a person types."""

from llmatic_daemon.cli import (
    control,
    experiments,
    health,
    nasbench,
    prompts,
    searches,
    service,
    upkeep,
)
from llmatic_daemon.cli.base import main
from llmatic_daemon.sandbox import forbid_tracing

__all__ = [
    "control",
    "experiments",
    "health",
    "main",
    "nasbench",
    "prompts",
    "searches",
    "service",
    "start",
    "upkeep",
]


def start() -> None:
    """Be the program: keys and results in our memory are nobody else's."""
    forbid_tracing()
    main()
