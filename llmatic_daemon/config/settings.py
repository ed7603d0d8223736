"""The settings as one frozen, checked tree.

What each setting means stands beside its default in `presets/default.toml`, and nowhere else. A section
whose numbers are the rules of a part (`search`, `fidelity`, `audit`, `budget`) is that part's dataclass.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Interval, Lt
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic_core import PydanticKnownError

from llmatic_daemon.config.explain import listed, nearest
from llmatic_daemon.domain.plugins import DATA_SETS, WRITERS
from llmatic_daemon.domain.sandbox import Layer
from llmatic_daemon.search.archive.measures import MEASURES
from llmatic_daemon.search.auditing import AuditRules
from llmatic_daemon.search.budget import Budget
from llmatic_daemon.search.candidates.cells import BENCHMARKS
from llmatic_daemon.search.early_stopping import EarlyStoppingRules
from llmatic_daemon.search.rules import Count, CountOrNone, RetryPolicy, Rules, Seconds
from llmatic_daemon.search.variants import STRATEGIES, Credit

MAX_SLOTS = 1024

Scale = Literal["linear", "log"]
Device = Annotated[str, Field(pattern=r"^(cpu|cuda(:\d+)?)$")]
#: Kinds of writers that need no server.
_WITHOUT_SERVER = ("offline", "replay")


def _one_of(*known: Iterable[str]) -> AfterValidator:
    """Accept the names of registries; where plugins offer some, these are listed and not imported."""

    def check(name: str) -> str:
        if any(name in names for names in known):
            return name
        raise PydanticKnownError("literal_error", {"expected": listed(n for names in known for n in names)})

    return AfterValidator(check)


class Section(BaseModel):
    """A part of the settings; frozen, and strict about names."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class DataSettings(Section):
    """The images that networks are trained on."""

    name: Annotated[str, _one_of(DATA_SETS, BENCHMARKS)]
    folder: Path
    download: bool
    num_train: CountOrNone
    image_size: Annotated[int, Interval(ge=4, le=1024)]
    fitness_split: Literal["validation", "test"]
    validation_ratio: Annotated[float, Interval(gt=0, le=0.5)]


class BoundSettings(Section):
    """Bounds of a measure, where they differ from its own."""

    low: float | None = None
    high: float | None = None
    scale: Scale | None = None


class ArchiveSettings(Section):
    """Cells, bounds and scales of both archives."""

    network_cells: Annotated[int, Interval(ge=1, le=1_000_000)]
    prompt_cells: Annotated[int, Interval(ge=1, le=1_000_000)]
    num_samples: Count
    width_to_depth_low: Annotated[float, Ge(0)]
    width_to_depth_high: Annotated[float, Gt(0)]
    width_to_depth_scale: Scale
    flops_low: Annotated[float, Ge(0)]
    flops_high: Annotated[float, Gt(0)]
    flops_scale: Scale
    axes: tuple[Annotated[str, _one_of(MEASURES)], Annotated[str, _one_of(MEASURES)]]
    bounds: dict[str, BoundSettings]
    prompt_axis_size: Annotated[int, Interval(ge=1, le=1000)]

    @model_validator(mode="after")
    def _axes_differ(self) -> "ArchiveSettings":
        if self.axes[0] == self.axes[1]:
            raise ValueError(f"axes must be two different measures, got {self.axes[0]!r} twice")
        for name in self.bounds:
            if name in ("width_to_depth", "flops"):
                raise ValueError(f"bounds.{name} must be left out; set archives.{name}_low, _high and _scale")
            if name not in self.axes:
                raise ValueError(f"bounds.{name} must be of one of the axes, {self.axes}; leave it out")
        return self

    @model_validator(mode="after")
    def _bounds_span_something(self) -> "ArchiveSettings":
        for name in ("width_to_depth", "flops"):
            low, high = getattr(self, f"{name}_low"), getattr(self, f"{name}_high")
            if low >= high:
                raise ValueError(f"{name}_low must be below {name}_high, got {low} and {high}")
            if low == 0 and getattr(self, f"{name}_scale") == "log":
                raise ValueError(f"{name}_low must be above 0 on a log scale")
        return self


class PromptSettings(Section):
    """The folder of prompts, and how its edits are detected."""

    folder: str
    settle_s: Annotated[float, Interval(gt=0, le=10)]
    rescan_s: Annotated[float, Interval(ge=0.1, le=3600)]


class EndpointSettings(Section):
    """One LLM server, and what is requested of it."""

    kind: Annotated[str, _one_of(_WITHOUT_SERVER, WRITERS)]
    url: Annotated[str, Field(pattern=r"^https?://[^\s@?#]+$")]
    token_file: str
    model: str
    style: Literal["completion", "chat"]
    weight: Annotated[float, Interval(gt=0, le=1e6)]
    max_new_tokens: Annotated[int, Interval(ge=1, le=1_000_000)]
    max_input_tokens: CountOrNone
    top_p: Annotated[float, Interval(gt=0, le=1)]
    grammar: Literal["none", "cells"]
    max_concurrency: Annotated[int, Interval(ge=1, le=4096)]
    timeout_s: Seconds
    extra_body: dict[str, Any]

    @field_validator("url")
    @classmethod
    def _without_slash(cls, url: str) -> str:
        return url.rstrip("/")


class WriterSettings(EndpointSettings):
    """The writer: one endpoint, or those in `endpoints`, which inherit what they do not set."""

    endpoints: dict[Annotated[str, Field(pattern="^[a-z0-9][a-z0-9_-]{0,31}$")], EndpointSettings]
    max_tries: Annotated[int, Interval(ge=1, le=100)]
    retry_s: Seconds
    max_retry_s: Seconds
    breaker_failures: Annotated[int, Interval(ge=1, le=1000)]
    breaker_window_s: Seconds
    breaker_pause_s: Seconds
    max_breaker_pause_s: Seconds
    on_outage: Literal["fallback", "wait"]
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
        odd = [name for name, e in self.endpoints.items() if e.kind in _WITHOUT_SERVER]
        if odd:
            raise ValueError(f"endpoints.{odd[0]}.kind must be {listed(WRITERS)}")
        if self.endpoints and self.token_file:
            raise ValueError("token_file must stand in the table of the endpoint that it is for")
        if self.max_tries < self.breaker_failures:
            raise ValueError("max_tries must be at least breaker_failures, so that an outage is seen as one")
        if self.kind == "replay" and not self.replay:
            raise ValueError('replay must name a recording when kind is "replay"')
        return self

    @model_validator(mode="after")
    def _grammar_is_held_by_tgi(self) -> "WriterSettings":
        if self.grammar != "none" and not self.servers:
            raise ValueError('grammar must be "none" unless kind is "tgi"')
        for name, server in self.servers.items():
            if server.grammar != "none" and server.kind == "openai":
                path = f"endpoints.{name}.grammar" if self.endpoints else "grammar"
                raise ValueError(f'{path} must be "none" unless kind is "tgi"')
        return self

    @property
    def servers(self) -> dict[str, EndpointSettings]:
        """The endpoints by name: those in `endpoints`, else the one that the writer itself is."""
        if self.endpoints:
            return self.endpoints
        return {} if self.kind in _WITHOUT_SERVER else {self.kind: self}


class LifterSettings(Section):
    """Limits of a candidate before it is trained."""

    processes: Annotated[int, Interval(ge=1, le=64)]
    timeout_s: Seconds
    memory_mib: Annotated[int, Ge(512)]
    max_parameters: Count
    max_flops: Count
    max_activation_mib: Count
    max_source_kib: Annotated[int, Interval(ge=1, le=64)]


class SandboxSettings(Section):
    """The sandbox for the code that an LLM wrote."""

    require: tuple[Layer, ...]
    user: Annotated[str, Field(min_length=1)]


class TrainingSettings(Section):
    """How and on which devices networks are trained."""

    recipe: Literal["fast", "paper"]
    initial_weights: Literal["keep", "reseed"]
    epochs: CountOrNone
    batch_size: CountOrNone
    learning_rate: Annotated[float, Ge(0)]
    momentum: float
    weight_decay: float
    label_smoothing: Annotated[float, Lt(1)]
    schedule: Literal["", "constant", "cosine", "one-cycle"]
    augmentation: Literal["", "none", "shift", "shift-flip"]
    precision: Literal["", "float32", "bfloat16"]
    timeout_s: Seconds
    devices: tuple[Device, ...]
    threads: Annotated[int, Interval(ge=1, le=1024)]
    memory_mib: CountOrNone

    @model_validator(mode="after")
    def _at_least_one_device(self) -> "TrainingSettings":
        if not self.devices:
            raise ValueError("devices must name at least one device")
        return self


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineSettings(RetryPolicy):
    """Slots, and what happens to jobs that fail or are in progress at the end."""

    slots: Annotated[int, Interval(ge=1, le=MAX_SLOTS)]
    drain_s: Annotated[float, Ge(0)]


class MetricsSettings(Section):
    """The HTTP listener for metrics, health and the API."""

    port: Annotated[int, Interval(ge=0, le=65535)]
    allowed_hosts: tuple[str, ...]


class ControlSettings(Section):
    """Control over TCP, beside the socket."""

    port: Annotated[int, Interval(ge=0, le=65535)]
    token_file: str


class Settings(Section):
    """All settings, checked."""

    state_dir: Path
    data: DataSettings
    search: Rules
    archives: ArchiveSettings
    prompts: PromptSettings
    writer: WriterSettings
    lifter: LifterSettings
    sandbox: SandboxSettings
    training: TrainingSettings
    fidelity: EarlyStoppingRules
    engine: EngineSettings
    budget: Budget
    audit: AuditRules
    metrics: MetricsSettings
    control: ControlSettings

    @property
    def is_benchmark(self) -> bool:
        """Whether candidates are cells of NAS-Bench-201, whose results are looked up in a table."""
        return self.data.name in BENCHMARKS

    @model_validator(mode="after")
    def _variant_is_possible(self) -> "Settings":
        variant, size = self.search.variant, self.search.population_size
        if variant not in STRATEGIES:
            must = f"search.variant must be {listed(STRATEGIES)}, got {variant!r}"
            raise ValueError(must + nearest(variant, STRATEGIES))
        strategy = STRATEGIES[variant]
        archive = "prompt" if strategy.credit is Credit.POPULATION else "network"
        cells = getattr(self.archives, f"{archive}_cells")
        if strategy.has_population and size > cells:
            raise ValueError(
                f"search.population_size must be at most archives.{archive}_cells with "
                f"search.variant = {variant!r}, got {size} and {cells}; make it smaller"
            )
        if not strategy.is_map and self.audit.ratio:
            raise ValueError(f"audit.ratio must be 0 with search.variant = {variant!r}, which has no map")
        return self

    @model_validator(mode="after")
    def _grammar_fits_the_data(self) -> "Settings":
        held = any(server.grammar == "cells" for server in self.writer.servers.values())
        if held and not self.is_benchmark:
            raise ValueError(
                'writer.grammar must be "none" unless data.name is one of nasbench201-*, '
                f"got {self.data.name!r}: only there candidates are cells"
            )
        return self
