"""Settings: presets, llmatic.toml and LLMATIC_* become one frozen `Settings`; the only reader of them.

What each setting means stands beside its default in `presets/default.toml`, and nowhere else.
"""

import difflib
import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from llmatic_daemon.errors import ConfigurationError
from llmatic_daemon.sandbox import Layer

ENVIRONMENT_PREFIX = "LLMATIC_"
#: Read elsewhere: by the store, for tests that kill it.
NOT_SETTINGS = frozenset({"LLMATIC_FAILPOINT", "LLMATIC_PRESET", "LLMATIC_LLM_TOKEN"})

MAX_SLOTS = 1024

Ratio = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
CountOrNone = Annotated[int, Field(ge=0)]
Seconds = Annotated[float, Field(gt=0)]
Scale = Literal["linear", "log"]
Device = Annotated[str, Field(pattern=r"^(cpu|cuda(:\d+)?)$")]


class Section(BaseModel):
    """A part of the settings; frozen, and strict about names."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class DataSettings(Section):
    """Which images."""

    name: Literal[
        "digits",
        "cifar10",
        "cifar100",
        "fashion-mnist",
        "image-folder",
        "npz",
        "nasbench201-cifar10",
        "nasbench201-cifar100",
        "nasbench201-imagenet16-120",
    ]
    folder: Path
    download: bool
    num_train: CountOrNone
    image_size: Annotated[int, Field(ge=4, le=1024)]
    fitness_split: Literal["validation", "test"]
    validation_ratio: Annotated[float, Field(gt=0, le=0.5)]


class SearchSettings(Section):
    """The numbers of the search; the fields of `core.rules.Rules`."""

    seed: Annotated[int, Field(ge=0, lt=2**63)]
    num_initial: Count
    initial_temperature: Ratio
    train_initial: bool
    mutation_ratio: Ratio
    curious_ratio: Ratio
    jitter_ratio: Ratio
    jitter: Ratio
    tournament_size: Annotated[int, Field(ge=1, le=1000)]
    min_neighbours: Count
    max_neighbours: Annotated[int, Field(ge=1, le=16)]
    crossover_temperature: Ratio
    window_size: Count
    curiosity_added: float
    curiosity_not_added: float
    curiosity_untrainable: float
    temperature_step: Ratio
    min_sampling_temperature: Annotated[float, Field(gt=0, le=1)]
    duplicates: Literal["skip", "train"]
    variant: Literal[
        "llmatic",
        "network-archive",
        "prompt-archive",
        "mutation-only",
        "crossover-only",
        "random-nn",
        "random-search",
        "regularized-evolution",
        "local-search",
        "map-elites",
        "genius",
    ]
    population_size: Annotated[int, Field(ge=2, le=1000)]
    control_ratio: Ratio

    @model_validator(mode="after")
    def _neighbours_in_order(self) -> "SearchSettings":
        if self.min_neighbours > self.max_neighbours:
            raise ValueError("min_neighbours must be at most max_neighbours")
        return self


class ArchiveSettings(Section):
    """Cells, bounds and scales of both archives."""

    network_cells: Annotated[int, Field(ge=1, le=1_000_000)]
    prompt_cells: Annotated[int, Field(ge=1, le=1_000_000)]
    num_samples: Count
    ratio_low: Annotated[float, Field(ge=0)]
    ratio_high: Annotated[float, Field(gt=0)]
    ratio_scale: Scale
    flops_low: Annotated[float, Field(ge=0)]
    flops_high: Annotated[float, Field(gt=0)]
    flops_scale: Scale
    prompt_slots: Annotated[int, Field(ge=1, le=1000)]

    @model_validator(mode="after")
    def _bounds_span_something(self) -> "ArchiveSettings":
        for name in ("ratio", "flops"):
            low, high = getattr(self, f"{name}_low"), getattr(self, f"{name}_high")
            if low >= high:
                raise ValueError(f"{name}_low must be below {name}_high, got {low} and {high}")
            if low == 0 and getattr(self, f"{name}_scale") == "log":
                raise ValueError(f"{name}_low must be above 0 on a log scale")
        return self


class PromptSettings(Section):
    """Where prompts lie, and how their edits are seen."""

    folder: str
    settle_s: Annotated[float, Field(gt=0, le=10)]
    rescan_s: Annotated[float, Field(ge=0.1, le=3600)]


class EndpointSettings(Section):
    """One LLM server, and how it is asked."""

    name: Literal["offline", "tgi", "openai", "replay"]
    url: Annotated[str, Field(pattern=r"^https?://[^\s@?#]+$")]
    token_file: str
    model: str
    style: Literal["completion", "chat"]
    weight: Annotated[float, Field(gt=0, le=1e6)]
    max_new_tokens: Annotated[int, Field(ge=1, le=1_000_000)]
    max_input_tokens: CountOrNone
    top_p: Annotated[float, Field(gt=0, le=1)]
    grammar: Literal["none", "cells"]
    max_concurrency: Annotated[int, Field(ge=1, le=4096)]
    timeout_s: Seconds
    extra_body: dict[str, Any]

    @field_validator("url")
    @classmethod
    def _without_slash(cls, url: str) -> str:
        return url.rstrip("/")


class WriterSettings(EndpointSettings):
    """Who writes: one endpoint, or those in `endpoints`, which take over what they do not set."""

    endpoints: dict[Annotated[str, Field(pattern="^[a-z0-9][a-z0-9_-]{0,31}$")], EndpointSettings]
    max_tries: Annotated[int, Field(ge=1, le=100)]
    retry_s: Seconds
    max_retry_s: Seconds
    breaker_failures: Annotated[int, Field(ge=1, le=1000)]
    breaker_window_s: Seconds
    breaker_pause_s: Seconds
    max_breaker_pause_s: Seconds
    outage: Literal["offline", "wait"]
    record: str
    replay: str

    @model_validator(mode="before")
    @classmethod
    def _inherited(cls, values: Any) -> Any:
        named = values.get("endpoints") if isinstance(values, dict) else None
        if not isinstance(named, dict):
            return values
        own = {name: values[name] for name in EndpointSettings.model_fields if name in values}
        own["token_file"] = ""  # a key goes to the endpoint that names it, and to no other
        whole = {n: {**own, **e} if isinstance(e, dict) else e for n, e in named.items()}
        return {**values, "endpoints": whole}

    @model_validator(mode="after")
    def _endpoints_are_servers(self) -> "WriterSettings":
        odd = [name for name, e in self.endpoints.items() if e.name not in ("tgi", "openai")]
        if odd:
            raise ValueError(f'endpoints.{odd[0]}.name must be "tgi" or "openai"')
        if self.endpoints and self.token_file:
            raise ValueError("token_file must stand in the table of the endpoint that it is for")
        if self.max_tries < self.breaker_failures:
            raise ValueError("max_tries must be at least breaker_failures, so that an outage is seen as one")
        if self.name == "replay" and not self.replay:
            raise ValueError('replay must name a recording when name is "replay"')
        return self

    @model_validator(mode="after")
    def _grammar_is_held_by_tgi(self) -> "WriterSettings":
        if self.grammar != "none" and not self.servers:
            raise ValueError('grammar must be "none" unless name is "tgi"')
        for name, server in self.servers.items():
            if server.grammar != "none" and server.name != "tgi":
                place = f"endpoints.{name}.grammar" if self.endpoints else "grammar"
                raise ValueError(f'{place} must be "none" unless name is "tgi"')
        return self

    @property
    def servers(self) -> dict[str, EndpointSettings]:
        """The endpoints by name: those in `endpoints`, else the one that the writer itself is."""
        if self.endpoints:
            return self.endpoints
        return {self.name: self} if self.name in ("tgi", "openai") else {}


class LifterSettings(Section):
    """What a candidate may cost before it is trained."""

    places: Annotated[int, Field(ge=1, le=64)]
    timeout_s: Seconds
    memory_mib: Annotated[int, Field(ge=512)]
    max_parameters: Count
    max_flops: Count
    max_activation_mib: Count
    max_source_kib: Annotated[int, Field(ge=1, le=64)]


class SandboxSettings(Section):
    """What is around the code that an LLM wrote."""

    require: tuple[Layer, ...]
    user: Annotated[str, Field(min_length=1)]


class TrainingSettings(Section):
    """How and where networks are trained."""

    recipe: Literal["fast", "paper"]
    initial_weights: Literal["keep", "reseed"]
    epochs: CountOrNone
    batch_size: CountOrNone
    learning_rate: Annotated[float, Field(ge=0)]
    momentum: float
    weight_decay: float
    label_smoothing: Annotated[float, Field(lt=1)]
    schedule: Literal["", "constant", "cosine", "one-cycle"]
    augmentation: Literal["", "none", "shift", "shift-flip"]
    precision: Literal["", "float32", "bfloat16"]
    timeout_s: Seconds
    places: tuple[Device, ...]
    threads: Annotated[int, Field(ge=1, le=1024)]
    memory_mib: CountOrNone

    @model_validator(mode="after")
    def _at_least_one_place(self) -> "TrainingSettings":
        if not self.places:
            raise ValueError("places must name at least one device")
        return self


class EngineSettings(Section):
    """Slots and patience."""

    slots: Annotated[int, Field(ge=1, le=MAX_SLOTS)]
    max_attempts: Count
    retry_s: Seconds
    max_retry_s: Seconds
    drain_s: Annotated[float, Field(ge=0)]


class FidelitySettings(Section):
    """Who is trained to the end; the fields of `core.fidelity.FidelityRules`."""

    look_ratio: Annotated[float, Field(ge=0, lt=1)]
    promoted_ratio: Annotated[float, Field(gt=0, le=1)]


class BudgetSettings(Section):
    """When it is enough; 0: no limit."""

    max_evaluations: CountOrNone
    max_trainings: Annotated[float, Field(ge=0)]
    max_gpu_hours: Annotated[float, Field(ge=0)]
    max_hours: Annotated[float, Field(ge=0)]
    target_accuracy: Ratio


class AuditSettings(Section):
    """Which elites are trained a second time; the fields of `core.audits.AuditRules`."""

    share: Ratio
    threshold: Annotated[float, Field(gt=0, le=100)]


class MetricsSettings(Section):
    """Where Prometheus may look."""

    port: Annotated[int, Field(ge=0, le=65535)]
    hosts: tuple[str, ...]


class ControlSettings(Section):
    """Control over TCP, beside the socket."""

    port: Annotated[int, Field(ge=0, le=65535)]
    token_file: str


class Settings(Section):
    """All settings, checked."""

    state_dir: Path
    data: DataSettings
    search: SearchSettings
    archives: ArchiveSettings
    prompts: PromptSettings
    writer: WriterSettings
    lifter: LifterSettings
    sandbox: SandboxSettings
    training: TrainingSettings
    fidelity: FidelitySettings
    engine: EngineSettings
    budget: BudgetSettings
    audit: AuditSettings
    metrics: MetricsSettings
    control: ControlSettings

    @model_validator(mode="after")
    def _population_fits(self) -> "Settings":
        variant, size = self.search.variant, self.search.population_size
        archive = "prompt" if variant == "network-archive" else "network"
        cells = getattr(self.archives, f"{archive}_cells")
        if variant in _POPULATIONS and size > cells:
            raise ValueError(
                f"search.population_size must be at most archives.{archive}_cells with "
                f"search.variant = {variant!r}, got {size} and {cells}; make it smaller"
            )
        if variant in _WITHOUT_MAP and self.audit.share:
            raise ValueError(f"audit.share must be 0 with search.variant = {variant!r}, which has no map")
        return self

    @model_validator(mode="after")
    def _grammar_fits_the_data(self) -> "Settings":
        held = any(server.grammar == "cells" for server in self.writer.servers.values())
        if held and not self.data.name.startswith("nasbench201-"):
            raise ValueError(
                'writer.grammar must be "none" unless data.name is one of nasbench201-*, '
                f"got {self.data.name!r}: only there candidates are cells"
            )
        return self


#: Variants that keep a population of `search.population_size`, and those without a map of networks.
_POPULATIONS = ("network-archive", "prompt-archive", "regularized-evolution", "genius")
_WITHOUT_MAP = ("prompt-archive", "regularized-evolution", "local-search", "genius")


PRESETS = ("default", "paper", "demo", "nasbench201", "nasbench201-imagenet16-120")


def preset_text(name: str) -> str:
    """Read a preset's file.

    Raises:
        ConfigurationError: there is no such preset.
    """
    if name not in PRESETS:
        raise ConfigurationError(
            f"preset must be one of {', '.join(PRESETS)}, got {name!r}{_nearest(str(name), PRESETS)}"
        )
    return resources.files("llmatic_daemon").joinpath(f"presets/{name}.toml").read_text("utf-8")


def preset_values(name: str) -> dict[str, Any]:
    """Read what a preset sets.

    Raises:
        ConfigurationError: there is no such preset.
    """
    return tomllib.loads(preset_text(name))


def load(
    file: Path | None = None,
    *,
    preset: str = "",
    environment: Mapping[str, str] = os.environ,
    overrides: Mapping[str, Any] | None = None,
) -> Settings:
    """Put the settings together: default, preset, file, environment, overrides; the last one wins.

    Args:
        file: A TOML file; it may name its preset by `preset = "..."` at the top.
        preset: Name of a preset; wins over the file's.
        environment: Where LLMATIC_* are looked up.
        overrides: Nested values, from the command line.

    Raises:
        ConfigurationError: one line for each mistake: what must be, what was found, where.
    """
    written = _read_toml(file) if file else {}
    named = preset or written.pop("preset", "") or environment.get("LLMATIC_PRESET", "default")
    written.pop("preset", None)
    presets = [preset_values(name) for name in dict.fromkeys(("default", named))]
    return layered(
        presets,
        (
            (str(file), written),
            ("environment", _from_environment(environment)),
            ("command line", overrides or {}),
        ),
    )


def layered(
    presets: Iterable[Mapping[str, Any]], sources: Iterable[tuple[str, Mapping[str, Any]]]
) -> Settings:
    """Lay values over each other; the last one wins.

    Args:
        presets: Nested values of ours, the default preset first.
        sources: Nested values of others, each with where it comes from.

    Raises:
        ConfigurationError: one line for each mistake: what must be, what was found, where.
    """
    merged: dict[str, Any] = {}
    for values in presets:
        _merge(merged, values)
    origins: dict[str, str] = {}
    for origin, values in sources:
        _check_names(values, Settings, origin)
        origins |= dict.fromkeys(_paths(values), origin)
        _merge(merged, values)
    try:
        return Settings.model_validate(merged)
    except ValidationError as error:
        raise ConfigurationError("; ".join(_explained(error, origins))) from error


def restore(written: Mapping[str, Any], file: Path) -> Settings:
    """Read settings back that a version of ours has written out; what it did not know is as by default.

    Raises:
        ConfigurationError: it was a version with other settings.
    """
    merged = tomllib.loads(preset_text("default"))
    _merge(merged, written)
    try:
        return Settings.model_validate(merged)
    except ValidationError as error:
        raise ConfigurationError(
            f"{file} must hold this version's settings, and {error.error_count()} differ; "
            "start the daemon on this folder once, which writes them anew"
        ) from error


def _read_toml(file: Path) -> dict[str, Any]:
    try:
        return beside(file, tomllib.loads(file.read_text("utf-8")))
    except OSError as error:
        raise ConfigurationError(
            f"{file} must be a readable configuration file: {error.strerror}; "
            "`llmatic-daemon init` writes one"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{file} must be TOML: {error}") from error


def beside(file: Path, values: dict[str, Any]) -> dict[str, Any]:
    """Read relative paths in a file as relative to it, whatever folder it is used from."""
    for place, name in path_settings(values):
        if isinstance(place, dict) and isinstance(place.get(name), str) and place[name]:
            place[name] = str(file.parent / place[name])
    return values


def path_settings(values: dict[str, Any]) -> Iterable[tuple[Any, str]]:
    """List the tables that hold a path, and its name there; a table may be missing."""
    yield values, "state_dir"
    yield values.get("data"), "folder"
    yield values.get("prompts"), "folder"
    yield values.get("control"), "token_file"
    writer = values.get("writer")
    yield from ((writer, name) for name in ("token_file", "record", "replay"))
    named = writer.get("endpoints") if isinstance(writer, dict) else None
    yield from ((each, "token_file") for each in (named.values() if isinstance(named, dict) else ()))


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    """Read LLMATIC_STATE_DIR, LLMATIC_SEARCH__SEED and their like; a value is TOML, else text."""
    found: dict[str, Any] = {}
    defaults = tomllib.loads(preset_text("default"))
    for name, text in sorted(environment.items()):
        if not name.startswith(ENVIRONMENT_PREFIX) or name in NOT_SETTINGS:
            continue
        *sections, key = name.removeprefix(ENVIRONMENT_PREFIX).lower().split("__")
        place, default = found, defaults
        for section in sections:
            place, default = place.setdefault(section, {}), default.get(section, {})
            if not isinstance(place, dict) or not isinstance(default, dict):
                break  # LLMATIC_SEARCH=5 beside it, which is told
        else:
            place[key] = _toml_value(text, default.get(key))
    return found


def _toml_value(text: str, default: object) -> Any:
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
    return text if isinstance(default, str) and not isinstance(value, str) else value


def _merge(into: dict[str, Any], values: Mapping[str, Any]) -> None:
    for name, value in values.items():
        if isinstance(value, Mapping) and isinstance(into.get(name), dict):
            _merge(into[name], value)
        else:
            into[name] = dict(value) if isinstance(value, Mapping) else value


def _paths(values: Mapping[str, Any], prefix: str = "") -> Iterable[str]:
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _paths(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def _known_names() -> list[str]:
    defaults = tomllib.loads(preset_text("default"))
    return [*_paths(defaults), *(name for name, value in defaults.items() if type(value) is dict)]


def _check_names(values: Mapping[str, Any], model: type[BaseModel], origin: str) -> None:
    """Refuse a name that no setting has, and name the nearest one."""
    known = _known_names()
    for path in _paths(values):
        if _as_described(path) not in known:
            spelt = f"{ENVIRONMENT_PREFIX}{path.replace('.', '__').upper()}"
            shown = f"{spelt!r} ({path})" if origin == "environment" else repr(path)
            raise ConfigurationError(f"{origin}: unknown setting {shown}{_near(path, known)}")


def _as_described(path: str) -> str:
    """Name the setting that says what may stand at a path; two of them are tables of one's own."""
    if path.startswith("writer.extra_body."):
        return "writer.extra_body"
    name = re.fullmatch(r"writer\.endpoints\.[^.]+(?:\.(.+))?", path)
    if name is None:
        return path
    inner = (name[1] or "url").split(".")[0]
    return f"writer.{inner}" if inner in EndpointSettings.model_fields else path


def _near(path: str, known: Iterable[str]) -> str:
    """Name the nearest setting; within an endpoint, of those that an endpoint may have."""
    inner = re.fullmatch(r"writer\.endpoints\.[^.]+\.(.+)", path)
    return _nearest(inner[1], EndpointSettings.model_fields) if inner else _nearest(path, known)


def _nearest(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""


#: Plainer words for faults that pydantic words for programmers.
_PLAIN = {
    "int_parsing": "must be an integer",
    "int_from_float": "must be an integer",
    "float_parsing": "must be a number",
    "bool_parsing": "must be true or false",
    "model_type": "must be a section of settings",
    "tuple_type": "must be a list",
    "path_type": "must be the path of a folder or file",
}


#: The same for what must look in some way.
_PATTERNS = {
    "places": "must be 'cpu', 'cuda' or 'cuda:N'",
    "url": "must be http:// or https://, a host, and no password: that belongs into token_file",
    "[key]": "must be a name of small letters, digits, - and _, at most 32",
}


def _explained(error: ValidationError, origins: Mapping[str, str]) -> Iterable[str]:
    for fault in error.errors():
        path = ".".join(str(part) for part in fault["loc"] if isinstance(part, str))
        plain = _PATTERNS.get(path.rpartition(".")[2], fault["msg"])
        message = plain if fault["type"] == "string_pattern_mismatch" else fault["msg"]
        message = _PLAIN.get(fault["type"], message).removeprefix("Value error, ")
        message = message.replace("Input should be", "must be").replace("greater than", "above")
        found, near = fault["input"], ""
        if fault["type"] == "literal_error" and isinstance(found, str):
            near = _nearest(found, re.findall(r"'([^']+)'", message))
        is_secret = path.endswith("url") and re.search("[@?#]", str(found))
        shown = "" if is_secret or isinstance(found, dict | BaseModel) else f", got {found!r}"
        inside = (origins[name] for name in origins if name.startswith(f"{path}."))
        origin = origins.get(path) or next(inside, "settings")
        joint = "" if not path else "." if fault["type"] == "value_error" else " "
        yield f"{origin}: {path}{joint}{message}{shown}{near}"
