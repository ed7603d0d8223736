"""Output of `demo` before and after its search."""

from pathlib import Path

from rich.console import Console

from llmatic_daemon.adapters.storage import history_records
from llmatic_daemon.adapters.storage.history import History
from llmatic_daemon.cli import views
from llmatic_daemon.commands.plot import draw
from llmatic_daemon.config.settings import Settings


def introduce(settings: Settings, console: Console) -> None:
    """Print what the demo will do."""
    console.print(
        f"[bold]LLMatic demo[/]: up to {settings.budget.max_evaluations} networks for scikit-learn's "
        "digits, written by the rule-based writer (no LLM)"
    )


def conclude(folder: Path, console: Console) -> None:
    """Print the best networks of a demo, its files and the next command."""
    with History(folder) as history:
        best = history.elites()[:5]
        console.print("\n[bold]best networks[/]", views.elites(best), sep="\n")
        for elite in best:
            line = history_records.lineage(history.lineage(elite.job))
            console.print(f"lineage of {elite.job}: {line}", soft_wrap=True)
    pictures = draw(folder, folder / "plots", ("png", "svg"))
    console.print(f"\n[bold]state[/]     {folder}", soft_wrap=True)
    console.print("[bold]pictures[/]  " + "\n          ".join(map(str, pictures)), soft_wrap=True)
    shown = f"{best[0].job} " if best else ""
    console.print(f"[bold]next[/]      llmatic-daemon show {shown}--state {folder}", soft_wrap=True)
