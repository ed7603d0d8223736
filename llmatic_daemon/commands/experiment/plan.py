"""What an experiment consists of: each of its runs with the settings that it has."""

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

from llmatic_daemon import __version__, config
from llmatic_daemon.adapters.prompts.files import read_prompts
from llmatic_daemon.adapters.storage.experiment_store import RunKey
from llmatic_daemon.bootstrap import build
from llmatic_daemon.config import experiment_file
from llmatic_daemon.config.experiment_file import ExperimentFile
from llmatic_daemon.config.loading import beside
from llmatic_daemon.config.settings import Settings
from llmatic_daemon.domain import digest
from llmatic_daemon.domain.errors import ConfigurationError
from llmatic_daemon.search.candidates.cells import TASK_PREFIX

#: Experiments that come with us, by the names that a person types.
PRESETS = ("quick", "paper-table1", "paper-figure2")
#: What a preset may bring to a table: the others of its numbers are about images and devices.
_SECTIONS = ("search", "fidelity")
#: What an experiment sets by itself, and by which of its entries.
_OURS = {
    "state_dir": "nothing: a run keeps no folder",
    "data.name": "data_sets",
    "data.folder": "table",
    "search.seed": "seeds",
    "budget.max_evaluations": "budgets",
    "budget.max_trainings": "budgets",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedRun:
    """One search that is to be run."""

    run: RunKey
    settings: Settings
    fingerprint: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """All runs of an experiment, in the order in which they are begun."""

    name: str
    jobs: tuple[PlannedRun, ...]
    #: Labels and data sets in the order of the file.
    variants: tuple[str, ...]
    data_sets: tuple[str, ...]
    #: In whole trainings, ascending.
    budgets: tuple[int, ...]
    num_processes: int

    def job(self, variant: str, data_set: str, seed: int = 0) -> PlannedRun:
        """Find a run."""
        return next(job for job in self.jobs if job.run == RunKey(variant, data_set, seed))


def preset_text(name: str) -> str:
    """Read an experiment that comes with us.

    Raises:
        ConfigurationError: there is no such experiment.
    """
    if name not in PRESETS:
        raise ConfigurationError(f"an experiment must be a file or one of {', '.join(PRESETS)}, got {name!r}")
    file = resources.files("llmatic_daemon.commands.experiment").joinpath(f"presets/{name}.toml")
    return file.read_text("utf-8")


def plan(what: str, *, table: Path | None = None, num_processes: int | None = None) -> Plan:
    """Read an experiment and put the settings of all its runs together.

    Args:
        what: A TOML file, or one of `PRESETS`.
        table: Of the benchmark, in the place of the one that the file names.
        num_processes: In the place of the file's.

    Raises:
        ConfigurationError: one line for each mistake: what must be, what was found, where.
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
        # Searches of the same seed one after the other: they have the same cells.
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
            f"an experiment must be a readable TOML file or one of {', '.join(PRESETS)}, got "
            f"{str(file)!r}: {error}; `llmatic-daemon experiment --show quick` prints one"
        ) from error


def _settings(
    written: ExperimentFile, file: Path, variant: str, data_set: str, table: Path | None
) -> Settings:
    """Lay what the file says over the presets, for one variant on one data set."""
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
            f"{file}: table must name the benchmark's table for {data_set}; or --table FILE"
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
    """Choose the preset whose bounds are the benchmark's on a data set."""
    return data_set if data_set in config.PRESETS else "nasbench201"


def _of_presets(where: str, values: dict[str, Any]) -> Iterable[Mapping[str, Any]]:
    """Take the preset out of some values, and of the preset what concerns a table."""
    if "preset" not in values:
        return
    try:
        found = config.preset_values(values.pop("preset"))
    except ConfigurationError as error:
        raise ConfigurationError(f"{where}: {error}") from error
    yield {name: found[name] for name in _SECTIONS if name in found}


def _checked(where: str, values: dict[str, Any], file: Path) -> dict[str, Any]:
    """Refuse what an experiment sets by itself."""
    for path, entry in _OURS.items():
        section, _, name = path.rpartition(".")
        place = values.get(section, {}) if section else values
        if isinstance(place, dict) and name in place:
            raise ConfigurationError(f"{where}.{path} must be left out: it is set by {entry}")
    return beside(file, values)


def _job(run: RunKey, template: Settings, name: str) -> PlannedRun:
    search = replace(template.search, seed=run.seed)
    return PlannedRun(run=run, settings=template.model_copy(update={"search": search}), fingerprint=name)


def _fingerprint(settings: Settings) -> str:
    """Name all that a result depends on: settings, table and prompts by what they say.

    Where the table lies does not count, nor which seed: that is part of a run's name.
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
            f"the benchmark's table must be a readable file, got {str(file)!r}: {error.strerror}; "
            "--table FILE names another"
        ) from error
