"""A search as settings describe it: its rules, cells and identity; and rebuilt from its log."""

import asyncio
import json
from dataclasses import asdict
from pathlib import Path

from llmatic_daemon.adapters.llm.recording import control_ratio_of
from llmatic_daemon.adapters.processes.child import run_module
from llmatic_daemon.config.settings import ArchiveSettings, Settings
from llmatic_daemon.domain import Identity, Task, Tessellation
from llmatic_daemon.domain.errors import ConfigurationError
from llmatic_daemon.domain.ports import SearchStore
from llmatic_daemon.search.archive.archive import CVTArchive
from llmatic_daemon.search.archive.centroids import Centroids
from llmatic_daemon.search.archive.measures import Axis, MeasureSpace
from llmatic_daemon.search.auditing import AuditRules
from llmatic_daemon.search.checkpoint import resumed
from llmatic_daemon.search.early_stopping import EarlyStoppingRules
from llmatic_daemon.search.evolution import Evolution, apply
from llmatic_daemon.search.rules import Rules


def rules(settings: Settings) -> Rules:
    """Take the numbers of the search from the settings, which have the same names.

    Where no LLM writes there is nothing to compare with; a recording has the control arm that it was
    made beside.
    """
    numbers, writer = settings.search.model_dump(), settings.writer
    if writer.name == "replay":
        numbers["control_ratio"] = control_ratio_of(Path(writer.replay))
    elif not writer.servers:
        numbers["control_ratio"] = 0.0
    return Rules(**numbers)


def identity(settings: Settings, task: Task) -> Identity:
    """Name what a state folder belongs to: whatever would make its old results wrong."""
    archives = settings.archives.model_dump()
    fields = {f"archives.{name}": str(value) for name, value in archives.items()}
    fields["data.fitness_split"] = settings.data.fitness_split
    fields["search.seed"] = str(settings.search.seed)
    if settings.search.variant != "llmatic":  # older versions had no other
        fields["search.variant"] = settings.search.variant
    fields["task"] = json.dumps(asdict(task))
    return Identity(fields=tuple(sorted(fields.items())))


async def rebuild(settings: Settings, store: SearchStore) -> Evolution:
    """Fold the log of a store, from its milestone on: what `verify` does from the beginning."""
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


def empty(settings: Settings, tessellation: Tessellation) -> Evolution:
    """Make a search before its first placement."""
    network_space, prompt_space = spaces(settings.archives)
    return Evolution(
        rules=rules(settings),
        networks=CVTArchive(space=network_space, centroids=Centroids(tessellation.network)),
        individuals=CVTArchive(space=prompt_space, centroids=Centroids(tessellation.prompt)),
        audit_rules=AuditRules(**settings.audit.model_dump()),
        early_stopping_rules=EarlyStoppingRules(**settings.fidelity.model_dump()),
    )


def spaces(archives: ArchiveSettings) -> tuple[MeasureSpace, MeasureSpace]:
    """Make the measure spaces of the network archive and of the prompt archive.

    Source: Nasir 2024, section 3; our digest's section 2 for bounds and scales.
    """
    ratio = Axis(
        name="width-to-depth ratio",
        low=archives.ratio_low,
        high=archives.ratio_high,
        log=archives.ratio_scale == "log",
    )
    flops = Axis(
        name="FLOPs",
        low=archives.flops_low,
        high=archives.flops_high,
        log=archives.flops_scale == "log",
    )
    prompt = Axis(name="prompt", low=0.0, high=float(archives.prompt_slots))
    return MeasureSpace(ratio, flops), MeasureSpace(prompt, Axis(name="temperature", low=0, high=1))


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
        raise ConfigurationError(f"the {num_cells} cells could not be made; see the lines above")
    return tuple((x, y) for x, y in json.loads(output))
