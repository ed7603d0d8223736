"""Load settings: presets, a TOML file, the environment and the command line, each mistake in one line."""

import difflib
import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from llmatic_daemon.config.settings import EndpointSettings, Settings
from llmatic_daemon.domain.errors import ConfigurationError

ENVIRONMENT_PREFIX = "LLMATIC_"
#: Read elsewhere: by the store, for tests that kill it.
NOT_SETTINGS = frozenset({"LLMATIC_FAILPOINT", "LLMATIC_PRESET", "LLMATIC_LLM_TOKEN"})


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
    return resources.files("llmatic_daemon.config").joinpath(f"presets/{name}.toml").read_text("utf-8")


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
