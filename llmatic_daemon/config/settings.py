"""Settings: presets, llmatic.toml and LLMATIC_* become one frozen `Settings`; the only reader of them.

What each setting means stands beside its default in `presets/default.toml`, and nowhere else.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

from llmatic_daemon.domain.sandbox import Layer
from llmatic_daemon.search.candidates.cells import TASK_PREFIX

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
    """Who is trained to the end; the fields of `core.fidelity.EarlyStoppingRules`."""

    rung_ratio: Annotated[float, Field(ge=0, lt=1)]
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

    @property
    def is_benchmark(self) -> bool:
        """Whether candidates are cells of NAS-Bench-201, whose results are looked up in a table."""
        return self.data.name.startswith(TASK_PREFIX)

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
        if held and not self.is_benchmark:
            raise ValueError(
                'writer.grammar must be "none" unless data.name is one of nasbench201-*, '
                f"got {self.data.name!r}: only there candidates are cells"
            )
        return self


#: Variants that keep a population of `search.population_size`, and those without a map of networks.
_POPULATIONS = ("network-archive", "prompt-archive", "regularized-evolution", "genius")
_WITHOUT_MAP = ("prompt-archive", "regularized-evolution", "local-search", "genius")
