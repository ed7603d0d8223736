"""A warm parent that believes what a candidate says first; only to show what the true parser stops."""

import io
from dataclasses import asdict
from typing import Any

from llmatic_daemon.domain import Measures, frames
from llmatic_daemon.worker.lifting import lift_server


def _believe(request: Any, confinement: Any, client: int) -> tuple[dict[str, Any], tuple[bytes, ...]]:
    ending = lift_server._run_confined(request, confinement, client)
    said: dict[str, Any] = {"outcome": "lifted" if ending.exit_code == 0 else "sandbox"}
    if ending.output:
        said |= frames.read_file(io.BytesIO(ending.output))[0]
    measures = asdict(Measures(num_parameters=0, flops=0, width=0, depth=0))
    return {"detail": "", "order": [], **said, "measures": measures}, (b"", b"")


if __name__ == "__main__":
    lift_server.lift = _believe  # type: ignore[assignment]
    lift_server.main()
