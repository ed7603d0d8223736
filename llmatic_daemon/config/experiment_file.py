"""The TOML file of an experiment: its variants, data sets and seeds."""

import tomllib
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from llmatic_daemon.config.explain import explain
from llmatic_daemon.domain.errors import ConfigurationError

Label = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]{0,47}$")]


class ExperimentFile(BaseModel):
    """The content of the file; the settings in it are checked when they are merged."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    data_sets: Annotated[tuple[str, ...], Field(min_length=1)]
    #: The table of a benchmark; "" where no data set is one.
    table: str = ""
    #: Number of seeds: 0, 1, ...
    seeds: Annotated[int, Field(ge=1, le=100_000)]
    #: Runs at the same time; 0: as many as there are cores.
    processes: Annotated[int, Field(ge=0, le=1024)] = 0
    #: Costs at which tables are made, in whole trainings; a run ends at the highest.
    budgets: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)]
    settings: dict[str, Any] = {}
    variants: Annotated[dict[Label, dict[str, Any]], Field(min_length=1)]

    @field_validator("budgets", "data_sets")
    @classmethod
    def _once_each(cls, values: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(dict.fromkeys(values))


def read(file: Path, text: str) -> ExperimentFile:
    """Read an experiment from a file's text.

    Raises:
        ConfigurationError: it is not TOML, or has an entry that no experiment has.
    """
    try:
        return ExperimentFile.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{file} must be TOML: {error}") from error
    except ValidationError as error:
        raise ConfigurationError(
            "; ".join(explain(error, {}, str(file), ExperimentFile.model_fields))
        ) from error
