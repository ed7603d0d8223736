"""The plan of an experiment: all runs with their settings."""

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

from llmatic_daemon import __version__, config
from llmatic_daemon.adapters.prompts.prompt_files import read_prompts
from llmatic_daemon.adapters.storage.experiment_store import RunKey
from llmatic_daemon.bootstrap import build
from llmatic_daemon.config import experiment_file
from llmatic_daemon.config.experiment_file import ExperimentFile
from llmatic_daemon.config.loading import beside
from llmatic_daemon.config.settings import Settings
from llmatic_daemon.domain import digest
from llmatic_daemon.domain.errors import ConfigurationError
from llmatic_daemon.search.candidates.cells import TASK_PREFIX

#: Shipped experiments, by name.
PRESETS = ("quick", "paper-table1", "paper-figure2")
#: Sections of a preset that apply to a benchmark; the others are about images and devices.
_SECTIONS = ("search", "fidelity")
#: Settings that an experiment sets itself, and the entry of its file that does so.
_OURS = {
    "state_dir": "nothing: a run has no folder",
    "data.name": "data_sets",
    "data.folder": "table",
    "search.seed": "seeds",
    "budget.max_evaluations": "budgets",
    "budget.max_trainings": "budgets",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedRun:
    """One planned search."""

    run: RunKey
    settings: Settings
    fingerprint: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """All runs of an experiment, in their order."""

    name: str
    jobs: tuple[PlannedRun, ...]
    #: Labels and data sets in the order of the file.
    variants: tuple[str, ...]
    data_sets: tuple[str, ...]
    #: In full trainings, ascending.
    budgets: tuple[int, ...]
    num_processes: int

    def job(self, variant: str, data_set: str, seed: int = 0) -> PlannedRun:
        """Return a run."""
        return next(job for job in self.jobs if job.run == RunKey(variant, data_set, seed))


def preset_text(name: str) -> str:
    """Return the text of a shipped experiment.

    Raises:
        ConfigurationError: there is no such experiment.
    """
    if name not in PRESETS:
        raise ConfigurationError(
            f"expected an experiment: a file or one of {', '.join(PRESETS)}, got {name!r}"
        )
    file = resources.files("llmatic_daemon.commands.experiment").joinpath(f"presets/{name}.toml")
    return file.read_text("utf-8")


def plan(what: str, *, table: Path | None = None, num_processes: int | None = None) -> Plan:
    """Return the plan of an experiment.

    Args:
        what: A TOML file, or one of `PRESETS`.
        table: Table of the benchmark; overrides the file.
        num_processes: Overrides the file.

    Raises:
        ConfigurationError: one line for each mistake: expected, got, where.
    """
    file = Path(what)
    text = preset_text(what) if what in PRESETS else _read(file)
    written = experiment_file.read(file, text)
    found = table or (file.parent / written.table if written.table else None)
    wanted = written.processes if num_processes is None else num_processes
    templates = {
        (variant, data_set): _settings(written, file, variant, data_set, found)
        for variant in written.variants
        for data_set in written.data_sets
    }
    names = {which: _fingerprint(settings) for which, settings in templates.items()}
    return Plan(
        name=file.stem,
        # Searches with the same seed follow each other, because they share their cells.
        jobs=tuple(
            _job(RunKey(*which, seed), template, names[which])
            for seed in range(written.seeds)
            for which, template in templates.items()
        ),
        variants=tuple(written.variants),
        data_sets=written.data_sets,
        budgets=tuple(sorted(written.budgets)),
        num_processes=wanted or len(os.sched_getaffinity(0)),
    )


def _read(file: Path) -> str:
    try:
        return file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"expected a readable TOML file or one of {', '.join(PRESETS)}, got "
            f"{str(file)!r}: {error}; `llmatic-daemon experiment --show quick` prints one"
        ) from error


def _settings(
    written: ExperimentFile, file: Path, variant: str, data_set: str, table: Path | None
) -> Settings:
    """Return the settings of one variant on one data set: the presets, overridden by the file."""
    shared, own = dict(written.settings), dict(written.variants[variant])
    is_table = data_set.startswith(TASK_PREFIX)
    presets = [
        config.preset_values("default"),
        *([config.preset_values(_preset_of(data_set))] if is_table else []),
        *_of_presets(f"{file}: settings", shared),
        *_of_presets(f"{file}: variants.{variant}", own),
    ]
    if is_table and table is None:
        raise ConfigurationError(
            f"{file}: expected the benchmark's table for {data_set} in 'table'; set it, or use --table FILE"
        )
    ours: dict[str, Any] = {
        "data": {"name": data_set, **({"folder": str(table)} if is_table else {})},
        "budget": {"max_evaluations": 0, "max_trainings": max(written.budgets)},
    }
    return config.layered(
        presets,
        (
            (f"{file}: settings", _checked(f"{file}: settings", shared, file)),
            (f"{file}: variants.{variant}", _checked(f"{file}: variants.{variant}", own, file)),
            (f"{file}: data_sets and table", ours),
        ),
    )


def _preset_of(data_set: str) -> str:
    """Return the preset with the benchmark's bounds on a data set."""
    return data_set if data_set in config.PRESETS else "nasbench201"


def _of_presets(where: str, values: dict[str, Any]) -> Iterable[Mapping[str, Any]]:
    """Remove the preset from values; return its sections that apply to a benchmark."""
    if "preset" not in values:
        return
    try:
        found = config.preset_values(values.pop("preset"))
    except ConfigurationError as error:
        raise ConfigurationError(f"{where}: {error}") from error
    yield {name: found[name] for name in _SECTIONS if name in found}


def _checked(where: str, values: dict[str, Any], file: Path) -> dict[str, Any]:
    """Reject settings that an experiment sets itself."""
    for path, entry in _OURS.items():
        section, _, name = path.rpartition(".")
        place = values.get(section, {}) if section else values
        if isinstance(place, dict) and name in place:
            raise ConfigurationError(f"{where}.{path}: remove it; it is set by {entry}")
    return beside(file, values)


def _job(run: RunKey, template: Settings, name: str) -> PlannedRun:
    search = replace(template.search, seed=run.seed)
    return PlannedRun(run=run, settings=template.model_copy(update={"search": search}), fingerprint=name)


def _fingerprint(settings: Settings) -> str:
    """Return a digest of all that a result depends on: settings, and the content of table and prompts.

    The path of the table does not count, nor does the seed, which is part of a run's key.
    """
    values = settings.model_dump(mode="json", exclude={"state_dir"})
    values["version"] = __version__
    if settings.is_benchmark:
        values["data"]["folder"] = _digest_of(settings.data.folder)
    prompts = read_prompts(build.prompt_path(settings))
    values["prompts"]["folder"] = sorted((p.id, p.digest, p.weight) for p in prompts)
    return digest(json.dumps(values, sort_keys=True).encode())[:12]


def _digest_of(file: Path) -> str:
    try:
        return digest(file.read_bytes())
    except OSError as error:
        raise ConfigurationError(
            f"expected a readable table of the benchmark, got {str(file)!r}: {error.strerror}; "
            "--table FILE names another"
        ) from error
