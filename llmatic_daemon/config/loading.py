"""Load settings from presets, a TOML file, the environment and the command line."""

import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from llmatic_daemon.config.explain import explain, nearest
from llmatic_daemon.config.renamed import with_new_names
from llmatic_daemon.config.settings import EndpointSettings, Settings
from llmatic_daemon.domain.errors import ConfigurationError

ENVIRONMENT_PREFIX = "LLMATIC_"
#: Variables that other modules read: for tests, for the preset, for keys.
NOT_SETTINGS = frozenset({"LLMATIC_FAILPOINT", "LLMATIC_PRESET", "LLMATIC_LLM_TOKEN"})


PRESETS = ("default", "paper", "demo", "nasbench201", "nasbench201-imagenet16-120")


def preset_text(name: str) -> str:
    """Read a preset's file.

    Raises:
        ConfigurationError: there is no such preset.
    """
    if name not in PRESETS:
        raise ConfigurationError(
            f"preset must be one of {', '.join(PRESETS)}, got {name!r}{nearest(str(name), PRESETS)}"
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
    """Merge the settings: default, preset, file, environment, overrides; the last one wins.

    Args:
        file: A TOML file; it may name its preset by `preset = "..."` at the top.
        preset: Name of a preset; wins over the file's.
        environment: Holds LLMATIC_*.
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
    """Merge values; the last one wins.

    Args:
        presets: Nested values of presets, the default first.
        sources: Nested values of the user, each with its origin.

    Raises:
        ConfigurationError: one line for each mistake: what must be, what was found, where.
    """
    merged: dict[str, Any] = {}
    for values in presets:
        _merge(merged, values)
    origins: dict[str, str] = {}
    for origin, written in sources:
        values = with_new_names(written, origin)
        _check_names(values, Settings, origin)
        origins |= dict.fromkeys(_paths(values), origin)
        _merge(merged, values)
    try:
        return Settings.model_validate(merged)
    except ValidationError as error:
        raise ConfigurationError("; ".join(explain(error, origins, "settings"))) from error


def restore(written: Mapping[str, Any], file: Path) -> Settings:
    """Read settings that this version or an older one has saved; what is missing is as by default.

    Raises:
        ConfigurationError: they were saved by a version with other settings.
    """
    merged = preset_values("default")
    _merge(merged, with_new_names(written))
    try:
        return Settings.model_validate(merged)
    except ValidationError as error:
        raise ConfigurationError(
            f"{file} must hold this version's settings, and {error.error_count()} differ; "
            "start the daemon on this folder once, which writes them again"
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
    """Make relative paths in a file relative to its folder, and not to the current one."""
    for place, name in path_settings(values):
        if isinstance(place, dict) and isinstance(place.get(name), str) and place[name]:
            place[name] = str(file.parent / place[name])
    return values


def path_settings(values: dict[str, Any]) -> Iterable[tuple[Any, str]]:
    """List the tables that may hold a path, each with the name of it."""
    yield values, "state_dir"
    yield values.get("data"), "folder"
    yield values.get("prompts"), "folder"
    yield values.get("control"), "token_file"
    writer = values.get("writer")
    yield from ((writer, name) for name in ("token_file", "record", "replay"))
    named = writer.get("endpoints") if isinstance(writer, dict) else None
    yield from ((each, "token_file") for each in (named.values() if isinstance(named, dict) else ()))


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    """Read LLMATIC_STATE_DIR, LLMATIC_SEARCH__SEED and so on; a value is TOML or else text."""
    found: dict[str, Any] = {}
    defaults = preset_values("default")
    for name, text in sorted(environment.items()):
        if not name.startswith(ENVIRONMENT_PREFIX) or name in NOT_SETTINGS:
            continue
        *sections, key = name.removeprefix(ENVIRONMENT_PREFIX).lower().split("__")
        place, default = found, defaults
        for section in sections:
            place, default = place.setdefault(section, {}), default.get(section, {})
            if not isinstance(place, dict) or not isinstance(default, dict):
                break  # LLMATIC_SEARCH=5 is there as well, which is reported
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
    defaults = preset_values("default")
    return [*_paths(defaults), *(name for name, value in defaults.items() if type(value) is dict)]


def _check_names(values: Mapping[str, Any], model: type[BaseModel], origin: str) -> None:
    """Reject a name that no setting has, and name the nearest one."""
    known = _known_names()
    for path in _paths(values):
        if _as_described(path) not in known:
            spelt = f"{ENVIRONMENT_PREFIX}{path.replace('.', '__').upper()}"
            shown = f"{spelt!r} ({path})" if origin == "environment" else repr(path)
            raise ConfigurationError(f"{origin}: unknown setting {shown}{_near(path, known)}")


def _as_described(path: str) -> str:
    """Return the setting that describes a path: some settings are tables with keys of the user."""
    if path.startswith("writer.extra_body."):
        return "writer.extra_body"
    if re.fullmatch(r"archives\.bounds\.[^.]+(?:\.(low|high|scale))?", path):
        return "archives.bounds"
    name = re.fullmatch(r"writer\.endpoints\.[^.]+(?:\.(.+))?", path)
    if name is None:
        return path
    inner = (name[1] or "url").split(".")[0]
    return f"writer.{inner}" if inner in EndpointSettings.model_fields else path


def _near(path: str, known: Iterable[str]) -> str:
    """Name the nearest setting; in an endpoint, the nearest of an endpoint."""
    inner = re.fullmatch(r"writer\.endpoints\.[^.]+\.(.+)", path)
    return nearest(inner[1], EndpointSettings.model_fields) if inner else nearest(path, known)
