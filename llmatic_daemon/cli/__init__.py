"""The commands of `llmatic-daemon`."""

from llmatic_daemon.cli import (
    control,
    doctor,
    experiment,
    maintenance,
    nasbench,
    prompts,
    reference,
    searches,
    service,
)
from llmatic_daemon.cli.base import main
from llmatic_daemon.domain.sandbox import forbid_tracing


def start() -> None:
    """Run the program; other processes of the user cannot trace its memory, which holds keys."""
    forbid_tracing()
    main()
