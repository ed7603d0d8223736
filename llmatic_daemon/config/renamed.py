"""Settings of 0.5 that have another name now; the old names work until 0.7."""

import logging
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from llmatic_daemon.domain.errors import ConfigurationError

logger = logging.getLogger(__name__)

#: Old name -> new name, in the same section.
RENAMED = {
    "search.jitter": "search.temperature_jitter",
    "search.jitter_ratio": "search.temperature_jitter_ratio",
    "archives.ratio_low": "archives.width_to_depth_low",
    "archives.ratio_high": "archives.width_to_depth_high",
    "archives.ratio_scale": "archives.width_to_depth_scale",
    "archives.prompt_slots": "archives.prompt_axis_size",
    "writer.name": "writer.kind",
    "writer.outage": "writer.on_outage",
    "lifter.places": "lifter.processes",
    "training.places": "training.devices",
    "fidelity.look_ratio": "fidelity.rung_ratio",
    "audit.share": "audit.ratio",
    "metrics.hosts": "metrics.allowed_hosts",
}
#: The old name of each that has one: a state folder is identified by it, whatever version made it.
OLD_NAMES = {new: old for old, new in RENAMED.items()}
#: Values that have another name too, by the old name of the setting.
_VALUES = {"writer.outage": {"offline": "fallback"}}


def with_new_names(values: Mapping[str, Any], origin: str = "") -> dict[str, Any]:
    """Return nested values by the names of this version, and warn of each old name once.

    Args:
        values: Of one source.
        origin: Where they come from, for the warning; "" logs none.

    Raises:
        ConfigurationError: a setting is there by its old name and by its new one.
    """
    renamed = {name: _copy(value) for name, value in values.items()}
    for old, new in RENAMED.items():
        (section, old_key), new_key = old.split("."), new.split(".")[1]
        for path, table in _tables(renamed, section):
            if old_key not in table or (path != section and old != "writer.name"):
                continue
            was, now = (_spelt(f"{path}.{key}", origin) for key in (old_key, new_key))
            if new_key in table:
                raise ConfigurationError(
                    f"{origin}: {now!r} must be set once, found it and {was!r}, its old name; remove {was!r}"
                )
            value = table.pop(old_key)
            table[new_key] = _VALUES.get(old, {}).get(value, value) if isinstance(value, str) else value
            if origin:
                _warn(f"{origin}: {was!r} is now {now!r}; the old name works until 0.7")
    return renamed


def _copy(value: Any) -> Any:
    return {name: _copy(each) for name, each in value.items()} if isinstance(value, Mapping) else value


def _tables(values: Mapping[str, Any], section: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """List the tables that may hold a setting of a section: endpoints hold those of the writer too."""
    table = values.get(section)
    if not isinstance(table, dict):
        return
    yield section, table
    named = table.get("endpoints") if section == "writer" else None
    for name, endpoint in named.items() if isinstance(named, dict) else ():
        if isinstance(endpoint, dict):
            yield f"writer.endpoints.{name}", endpoint


def _spelt(path: str, origin: str) -> str:
    return f"LLMATIC_{path.replace('.', '__').upper()}" if origin == "environment" else path


@cache
def _warn(message: str) -> None:
    """Log a warning once a start, however often settings are loaded."""
    logger.warning(message, extra={"action": "settings"})
