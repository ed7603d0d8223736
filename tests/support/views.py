"""What the commands print, as text."""

import io

from rich.console import Console, RenderableType

from llmatic_daemon.adapters.storage.history_records import StoredStatus


def shown(renderable: RenderableType) -> str:
    console = Console(file=io.StringIO(), width=200)
    console.print(renderable)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def status(num_audits: int, num_unstable: int) -> StoredStatus:
    return StoredStatus(
        num_settled=9,
        num_evaluations=8,
        outcomes=(),
        network_cells=10,
        filled_network_cells=3,
        prompt_cells=10,
        filled_prompt_cells=0,
        qd_score=0.0,
        best_objective=None,
        best_job=None,
        num_slots=0,
        num_queued=0,
        running=(),
        prompts=None,
        num_fallbacks=0,
        num_audits=num_audits,
        num_unstable=num_unstable,
        last_settled_at=None,
        elapsed_s=1.0,
        train_s=1.0,
        holder=None,
        sandbox=None,
        paused_since=None,
    )
