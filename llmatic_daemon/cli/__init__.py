"""The words that a person types."""

from llmatic_daemon.cli import control, doctor, experiment, maintenance, nasbench, prompts, searches, service
from llmatic_daemon.cli.base import main
from llmatic_daemon.domain.sandbox import forbid_tracing

__all__ = [
    "control",
    "doctor",
    "experiment",
    "main",
    "maintenance",
    "nasbench",
    "prompts",
    "searches",
    "service",
    "start",
]


def start() -> None:
    """Be the program: keys and results in our memory are nobody else's."""
    forbid_tracing()
    main()
