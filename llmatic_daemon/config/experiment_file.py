"""The file of an experiment, TOML: which variants, on which data sets, by how many seeds."""

import difflib
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from llmatic_daemon.domain.errors import ConfigurationError

Label = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]{0,47}$")]


class ExperimentFile(BaseModel):
    """What the file says; the settings in it are checked where they are put together."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    data_sets: Annotated[tuple[str, ...], Field(min_length=1)]
    #: The table of a benchmark; "" where no data set is one.
    table: str = ""
    #: Seeds 0 to this, less one.
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
        ConfigurationError: it is no TOML, or says something that no experiment has.
    """
    try:
        return ExperimentFile.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{file} must be TOML: {error}") from error
    except ValidationError as error:
        raise ConfigurationError("; ".join(_explained(file, error))) from error


_WORDS = {
    "missing": "must be there",
    "dict_type": "must be a table",
    "tuple_type": "must be a list",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "int_parsing": "must be a whole number",
    "string_type": "must be text",
    "too_short": "must not be empty",
}


def _explained(file: Path, error: ValidationError) -> Iterator[str]:
    for fault in error.errors():
        path = ".".join(str(part) for part in fault["loc"] if part != "[key]")
        found = "" if isinstance(fault["input"], dict | tuple) else f", got {fault['input']!r}"
        if fault["type"] == "extra_forbidden":
            close = difflib.get_close_matches(path, ExperimentFile.model_fields, n=1, cutoff=0.5)
            near = f"; did you mean {close[0]!r}?" if close else ""
            yield f"{file}: unknown entry {path!r}{near}"
        elif fault["type"] == "string_pattern_mismatch":
            yield f"{file}: a variant's name must have letters, digits, . _ + and - alone{found}"
        else:
            words = _WORDS.get(fault["type"], fault["msg"].replace("Input should be", "must be"))
            yield f"{file}: {path} {words}{found}"
