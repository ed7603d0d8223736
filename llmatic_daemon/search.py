"""A search as settings describe it: its rules, cells and identity; and rebuilt from its log."""

import asyncio
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

from llmatic_daemon.adapters.child import printed
from llmatic_daemon.adapters.recording import control_ratio_of
from llmatic_daemon.adapters.state_folder import settings_path, sync_folder
from llmatic_daemon.config import ArchiveSettings, Settings, path_settings, restore
from llmatic_daemon.core.archive import CVTArchive
from llmatic_daemon.core.audits import AuditRules
from llmatic_daemon.core.centroids import Centroids
from llmatic_daemon.core.evolution import Evolution, apply
from llmatic_daemon.core.fidelity import FidelityRules
from llmatic_daemon.core.measures import Axis, MeasureSpace
from llmatic_daemon.core.milestones import resumed
from llmatic_daemon.core.rules import Rules
from llmatic_daemon.errors import ConfigurationError, StoreUnavailable, UserError
from llmatic_daemon.ports import SearchStore
from llmatic_daemon.records import Identity, Task, Tessellation, digest


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
    milestone = await store.milestone()
    begun = resumed(evolution, milestone) if milestone else None
    async for entry in store.log(milestone if begun else None):
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
        fidelity_rules=FidelityRules(**settings.fidelity.model_dump()),
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
    module = "llmatic_daemon.core.tessellation"
    status, output = await printed(module, num_cells, num_samples, seed)
    if status != 0:
        raise ConfigurationError(f"the {num_cells} cells could not be made; see the lines above")
    return tuple((x, y) for x, y in json.loads(output))


def fingerprint(settings: Settings) -> str:
    """Name settings by what they say: the same ones give the same 12 hexadecimal digits."""
    return digest(json.dumps(_anywhere(settings), sort_keys=True).encode())[:12]


def write_settings(settings: Settings) -> None:
    """Keep the settings for the commands that look at a state folder later."""
    file = settings_path(settings.state_dir)
    new = file.with_suffix(".new")
    try:
        with new.open("w") as opened:
            opened.write(json.dumps(_anywhere(settings), indent=2) + "\n")
            opened.flush()
            os.fsync(opened.fileno())
        new.replace(file)
        sync_folder(file.parent)
    except OSError as error:
        raise StoreUnavailable(
            f"{str(file)!r} must be writable, got: {error.strerror}; make room, and start again"
        ) from error


def _anywhere(settings: Settings) -> dict[str, Any]:
    """Write settings out so that they mean the same from whatever folder they are read."""
    values = settings.model_dump(mode="json")
    for place, name in path_settings(values):
        if place[name]:
            place[name] = str(Path(place[name]).absolute())
    return values


def read_settings(state_dir: Path) -> Settings:
    """Read the settings of the last start on a state folder, its place aside.

    Raises:
        UserError: there was none.
    """
    file = settings_path(state_dir)
    try:
        written = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(
            f"{str(file)!r} must hold the settings of a search, got: {error}; start "
            "'llmatic-daemon run' or 'llmatic-daemon demo' on this folder once"
        ) from error
    return restore({**written, "state_dir": str(state_dir)}, file)
