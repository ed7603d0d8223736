"""What the commands print, as text."""

import io

from rich.console import Console, RenderableType

from llmatic_daemon.adapters.storage.history_records import Status


def shown(renderable: RenderableType) -> str:
    console = Console(file=io.StringIO(), width=200)
    console.print(renderable)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def status(num_audits: int, num_unstable: int) -> Status:
    return Status(
        num_settled=9,
        num_evaluations=8,
        outcomes=(),
        best=None,
        num_filled=3,
        num_cells=10,
        num_prompt_filled=0,
        num_prompt_cells=10,
        num_queued=0,
        running=(),
        prompts=None,
        num_stand_ins=0,
        num_audits=num_audits,
        num_unstable=num_unstable,
        last_settled_at=None,
        elapsed_s=1.0,
        train_s=1.0,
        holder=None,
        sandbox=None,
        paused_since=None,
    )
