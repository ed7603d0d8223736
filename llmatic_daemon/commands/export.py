"""Export networks: source, weights after a final training, a program, and a card."""

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from llmatic_daemon import __version__
from llmatic_daemon.adapters.processes.child import Child, ChildGone
from llmatic_daemon.adapters.storage.history import History
from llmatic_daemon.adapters.storage.history_records import StoredElite, lineage
from llmatic_daemon.bootstrap import build_processes
from llmatic_daemon.bootstrap.build_search import parse_task
from llmatic_daemon.bootstrap.saved_settings import read_settings
from llmatic_daemon.config.settings import Settings
from llmatic_daemon.domain import Candidate, Failure, Network, Rejection, Report, StoppedEarly, Task, Training
from llmatic_daemon.domain.errors import ConfigurationError, UserError
from llmatic_daemon.domain.ports import Lifter, Trainer
from llmatic_daemon.search.candidates.source import class_name_of

PROGRAM_MODULE = "llmatic_daemon.worker.training.export_program"


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportedFiles:
    """One exported network, or the reason why it failed."""

    job: int
    #: Its folder; empty if it failed.
    folder: str = ""
    #: Test accuracy after the final training; None if it failed.
    test_accuracy: float | None = None
    fault: str = ""


async def export(
    state_dir: Path, out: Path, *, jobs: tuple[int, ...], kind: str
) -> AsyncIterator[ExportedFiles]:
    """Export elites, one after the other, each into its own folder.

    Args:
        state_dir: Of the search, whose settings define the training; a daemon may be running.
        out: Parent of the folders.
        jobs: Elites by job number; empty: all.
        kind: Of the program: "pt2" (torch.export) or "onnx".

    Raises:
        LLMaticError: there is no such elite, or a trainer or the lifter cannot start.
    """
    settings = read_settings(state_dir)
    if settings.is_benchmark:
        raise UserError(
            "networks of a benchmark cannot be exported: they were not trained here; "
            "'llmatic-daemon nasbench source CELL' prints one as PyTorch"
        )
    with History(state_dir) as history:
        chosen = _chosen(history, jobs)
        task = parse_task(history.identity())
        async with AsyncExitStack() as stack:
            trainer = await stack.enter_async_context(build_processes.trainers(settings))
            lifter = await stack.enter_async_context(build_processes.lifter(settings))
            for elite in chosen:
                work = _Export(settings, task, history, lifter, trainer, kind)
                yield await work.export(elite, out / f"{elite.job:06d}")


def _chosen(history: History, jobs: tuple[int, ...]) -> list[StoredElite]:
    elites = {elite.job: elite for elite in history.elites()}
    for job in jobs:
        if job not in elites:
            raise UserError(
                f"expected the job number of an elite, got {job}; 'llmatic-daemon elites' lists them"
            )
    return [elites[job] for job in jobs or elites]


@dataclass(frozen=True, slots=True)
class _Export:
    settings: Settings
    task: Task
    history: History
    lifter: Lifter
    trainer: Trainer
    kind: str

    async def export(self, elite: StoredElite, folder: Path) -> ExportedFiles:
        """Lift, train and write one elite."""
        source = self.history.source(elite.source_digest)
        seed = self.history.placement(elite.job).seed
        candidate = Candidate(source=source, class_name=class_name_of(source), seed=seed, task=self.task)
        network = await self.lifter.lift(candidate)
        if isinstance(network, Rejection):
            return ExportedFiles(job=elite.job, fault=network.detail)
        training = Training(seed=seed, keep_weights=True)
        report = await self.trainer.train(network, training, lambda progress: None)
        assert not isinstance(report, StoppedEarly)  # there was no rung
        if isinstance(report, Failure):
            return ExportedFiles(job=elite.job, fault=report.detail)
        return await self._write(elite, source, network, report, folder)

    async def _write(
        self, elite: StoredElite, source: str, network: Network, report: Report, folder: Path
    ) -> ExportedFiles:
        assert report.weights is not None
        facts, program = self._facts(elite, report), f"network.{self.kind}"
        files = {
            "network.py": source.encode(),
            "graph.json": network.graph,
            "weights.safetensors": report.weights,
            "card.json": json.dumps(facts, indent=2).encode(),
            "card.md": _card(facts, program).encode(),
        }
        _write_files(folder, files)
        await self._write_program(folder / program, network.graph, report.weights)
        return ExportedFiles(job=elite.job, folder=str(folder), test_accuracy=report.test_accuracy)

    async def _write_program(self, file: Path, graph: bytes, weights: bytes) -> None:
        child = await Child.start(PROGRAM_MODULE, name="program writer")
        request = {
            "kind": self.kind,
            "file": str(file),
            "input_shape": list(self.task.input_shape),
            "num_classes": self.task.num_classes,
            "limits": build_processes.limits(self.settings),
        }
        try:
            await child.send(request, graph, weights)
            response, _ = await child.receive()
        except ChildGone as error:
            raise ConfigurationError(f"cannot write {file}: {error}") from error
        finally:
            await child.kill()
        if "error" in response:
            raise ConfigurationError(f"cannot write {file}: {response['error']}")

    def _facts(self, elite: StoredElite, report: Report) -> dict[str, Any]:
        return {
            "candidate": elite.job,
            "cell": elite.cell,
            "task": asdict(self.task),
            "measures": {**asdict(elite.measures), "width_to_depth": elite.measures.width_to_depth},
            "search": {
                "accuracy": elite.objective,
                "test_accuracy": elite.test_accuracy,
                "audit": elite.verdict,
            },
            "final_training": {
                "accuracy": report.objective,
                "test_accuracy": report.test_accuracy,
                "test_loss": report.test_loss,
            },
            "normalisation": [
                {"mean": mean, "deviation": deviation} for mean, deviation in report.normalisation or ()
            ],
            "lineage": lineage(self.history.lineage(elite.job)),
            "source_digest": elite.source_digest,
            "network_digest": elite.network_digest,
            "settings": self.settings.model_dump(mode="json"),
            "version": __version__,
        }


def _write_files(folder: Path, files: dict[str, bytes]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)


def _card(facts: dict[str, Any], program: str) -> str:
    """Return the description of a network and how to reproduce it."""
    measures, final, task = facts["measures"], facts["final_training"], facts["task"]
    shape = "x".join(map(str, task["input_shape"]))
    channels = "; ".join(f"({c['mean']:.6g}, {c['deviation']:.6g})" for c in facts["normalisation"])
    return f"""# Network {facts["candidate"]} for {task["name"]}

| | |
|---|---|
| test accuracy after the final training | {final["test_accuracy"]:.4f} |
| accuracy that made it an elite | {facts["search"]["accuracy"]:.4f} |
| FLOPs (multiply-adds for one image) | {measures["flops"]:,} |
| parameters | {measures["num_parameters"]:,} |
| width / depth | {measures["width"]} / {measures["depth"]} |
| input, classes | {shape}, {task["num_classes"]} |
| lineage | {facts["lineage"]} |

`{program}` takes a batch of images, channels first, and returns one score for each class. Normalise each pixel
first: subtract the mean of its channel and divide by the deviation, in the units of the data set's files:
{channels}. `network.py` is the original source. It is untrusted code, and the program
does not need it. `weights.safetensors` belongs to `graph.json`.

To reproduce it from the state folder of this search:
`llmatic-daemon export DIR --only {facts["candidate"]}`; the settings are in `card.json`.
"""
