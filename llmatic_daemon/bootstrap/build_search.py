"""Build a search from the settings: its rules, cells and identity; and rebuild it from its log."""

import asyncio
import json
from dataclasses import asdict, replace
from pathlib import Path

from llmatic_daemon.adapters.llm.recording import control_ratio_of
from llmatic_daemon.adapters.processes.child import run_module
from llmatic_daemon.config.renamed import OLD_NAMES
from llmatic_daemon.config.settings import ArchiveSettings, Settings
from llmatic_daemon.domain import Identity, Task, Tessellation
from llmatic_daemon.domain.errors import ConfigurationError
from llmatic_daemon.domain.ports import SearchStore, Trainer
from llmatic_daemon.search.archive.archive import CVTArchive
from llmatic_daemon.search.archive.centroids import Centroids
from llmatic_daemon.search.archive.measures import MEASURES, Axis, Measure, MeasureSpace
from llmatic_daemon.search.checkpoint import resumed
from llmatic_daemon.search.evolution import Evolution, apply
from llmatic_daemon.search.rules import Rules


def rules(settings: Settings) -> Rules:
    """Return the rules of the search; without an LLM there is no control arm.

    A recording has the control arm that it was made with.
    """
    writer = settings.writer
    if writer.kind == "replay":
        return replace(settings.search, control_ratio=control_ratio_of(Path(writer.replay)))
    return settings.search if writer.servers else replace(settings.search, control_ratio=0.0)


def identity(settings: Settings, task: Task) -> Identity:
    """Name what a state folder belongs to: all settings with another value of which old results are wrong.

    The names are those of 0.5, and what was not there in 0.5 is named only if it is not the default.
    """
    archives = settings.archives.model_dump(exclude={"axes", "bounds"})
    paths = {f"archives.{name}": str(value) for name, value in archives.items()}
    fields = {OLD_NAMES.get(path, path): value for path, value in paths.items()}
    fields["data.fitness_split"] = settings.data.fitness_split
    fields["search.seed"] = str(settings.search.seed)
    if settings.search.variant != "llmatic":
        fields["search.variant"] = settings.search.variant
    if settings.archives.axes != ("width_to_depth", "flops"):
        space, _ = spaces(settings.archives)
        for number, (name, axis) in enumerate(
            zip(settings.archives.axes, (space.first, space.second), strict=True)
        ):
            scale = "log" if axis.log else "linear"
            fields[f"archives.axes.{number}"] = f"{name} from {axis.low} to {axis.high}, {scale}"
    fields["task"] = json.dumps(asdict(task))
    return Identity(fields=tuple(sorted(fields.items())))


async def rebuild(settings: Settings, store: SearchStore) -> Evolution:
    """Fold the log of a store, from its checkpoint on."""
    evolution = empty(settings, await store.tessellation(lambda: _tessellation(settings)))
    checkpoint = await store.checkpoint()
    begun = resumed(evolution, checkpoint) if checkpoint else None
    async for entry in store.log(checkpoint if begun else None):
        begun = apply(begun or evolution, entry)
    return begun or evolution


def parse_task(found: Identity) -> Task:
    """Read the task from a state folder's identity."""
    fields = json.loads(dict(found.fields)["task"])
    return Task(**{**fields, "input_shape": tuple(fields["input_shape"])})


async def find_task(settings: Settings, store: SearchStore, trainer: Trainer) -> Task:
    """Return the task of the state folder; the first time, claim it for the trainers' data set.

    Raises:
        ConfigurationError: the state folder belongs to another search.
    """
    stored = await store.identity()
    task = parse_task(stored) if stored else await trainer.task()
    await store.identify(identity(settings, task))
    return task


async def check_task(trainer: Trainer, task: Task) -> None:
    """Compare the data set that the trainers have loaded with the state's.

    Raises:
        ConfigurationError: it is another one.
    """
    loaded = await trainer.task()
    if loaded != task:
        raise ConfigurationError(
            f"the data set must be the state's, found another: {loaded}, was {task}; "
            "change data back, or choose another state folder"
        )


def empty(settings: Settings, tessellation: Tessellation) -> Evolution:
    """Build a search before its first placement."""
    network_space, prompt_space = spaces(settings.archives)
    return Evolution(
        rules=rules(settings),
        networks=CVTArchive(space=network_space, centroids=Centroids(tessellation.network)),
        individuals=CVTArchive(space=prompt_space, centroids=Centroids(tessellation.prompt)),
        audit_rules=settings.audit,
        early_stopping_rules=settings.fidelity,
    )


def spaces(archives: ArchiveSettings) -> tuple[MeasureSpace, MeasureSpace]:
    """Build the measure spaces of the network archive and of the prompt archive.

    Raises:
        ConfigurationError: a measure's package is broken, or its bounds span nothing.

    Source: Nasir 2024, section 3, for the default measures and the prompt archive.
    """
    prompt = Axis(name="prompt", low=0.0, high=float(archives.prompt_axis_size))
    temperature = Axis(name="temperature", low=0, high=1)
    first, second = (_measure(name, archives) for name in archives.axes)
    return MeasureSpace(first, second), MeasureSpace(prompt, temperature)


def _measure(name: str, archives: ArchiveSettings) -> Measure:
    """Return a measure with the bounds that the settings give it."""
    measure = MEASURES.load(name)
    if name in ("width_to_depth", "flops"):
        low, high, scale = (getattr(archives, f"{name}_{what}") for what in ("low", "high", "scale"))
        return replace(measure, low=low, high=high, log=scale == "log")
    given = archives.bounds[name].model_dump(exclude_none=True) if name in archives.bounds else {}
    if scale := given.pop("scale", None):
        given["log"] = scale == "log"
    try:
        return replace(measure, **given)
    except ValueError as error:
        raise ConfigurationError(f"archives.bounds.{name} must span something: {error}") from error


async def _tessellation(settings: Settings) -> Tessellation:
    archives, seed = settings.archives, settings.search.seed
    network, prompt = await asyncio.gather(
        _centroids(archives.network_cells, archives.num_samples, seed),
        _centroids(archives.prompt_cells, archives.num_samples, seed + 1),
    )
    return Tessellation(network=network, prompt=prompt)


async def _centroids(num_cells: int, num_samples: int, seed: int) -> tuple[tuple[float, float], ...]:
    module = "llmatic_daemon.search.archive.tessellation"
    status, output = await run_module(module, num_cells, num_samples, seed)
    if status != 0:
        raise ConfigurationError(f"the process that makes {num_cells} cells failed; see the lines above")
    return tuple((x, y) for x, y in json.loads(output))
