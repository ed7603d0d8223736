"""A warm parent whose validator believes everything; only to show what the true one stops."""

from types import SimpleNamespace

from llmatic_daemon.domain import Measures
from llmatic_daemon.worker.lifting import lift_server


def _believe(*_: object) -> SimpleNamespace:
    measures = Measures(num_parameters=0, flops=0, width=0, depth=0)
    return SimpleNamespace(measures=measures, activation_bytes=0)


if __name__ == "__main__":
    lift_server.validate = _believe  # type: ignore[assignment]
    lift_server.main()
