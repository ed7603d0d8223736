"""The faults that pydantic finds, one line each: what was expected, what was found, and where."""

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

#: Plain words for faults that pydantic words for programmers.
_WORDS = {
    "int_type": "must be an integer",
    "int_parsing": "must be an integer",
    "int_from_float": "must be an integer",
    "float_parsing": "must be a number",
    "bool_parsing": "must be true or false",
    "string_type": "must be text",
    "model_type": "must be a section of settings",
    "dataclass_type": "must be a section of settings",
    "dict_type": "must be a table",
    "tuple_type": "must be a list",
    "too_short": "must not be empty",
    "path_type": "must be the path of a folder or file",
    "missing": "must be there",
}
#: The same for text of a certain pattern, by the last part of its path.
_PATTERNS = {
    "devices": "must be 'cpu', 'cuda' or 'cuda:N'",
    "url": "must be http:// or https://, a host, and no password: that belongs into token_file",
    "endpoints": "must be a name of small letters, digits, - and _, at most 32",
    "variants": "must be a name of letters, digits, . _ + and -, at most 48",
}


def explain(
    error: ValidationError, origins: Mapping[str, str], default: str, known: Iterable[str] = ()
) -> Iterator[str]:
    """Word each fault of some values.

    Args:
        error: What pydantic found.
        origins: Where a value comes from, by its dotted path.
        default: Where all other values come from.
        known: The names at the top, for the nearest one of an unknown name.
    """
    for fault in error.errors():
        parts = [part for part in fault["loc"] if isinstance(part, str)]
        path = ".".join(part for part in parts if part != "[key]")
        message = _message(fault, parts)
        # A check of several sections names the setting itself, first.
        subject = path or message.partition(" ")[0]
        inside = (origins[name] for name in origins if name.startswith(f"{subject}."))
        origin = origins.get(subject) or next(inside, default)
        if fault["type"] == "extra_forbidden":
            yield f"{origin}: unknown entry {path!r}{nearest(path, known)}"
        else:
            joint = "" if not path else "." if fault["type"] == "value_error" else " "
            yield f"{origin}: {path}{joint}{message}{_found(fault, path, message)}"


def _message(fault: Mapping[str, Any], parts: list[str]) -> str:
    if fault["type"] == "string_pattern_mismatch":
        field = [part for part in parts if part != "[key]"][-2 if "[key]" in parts else -1]
        return str(_PATTERNS.get(field, fault["msg"]))
    if fault["type"] == "missing" and isinstance(fault["loc"][-1], int):
        return "must have more values"
    message = str(_WORDS.get(fault["type"], fault["msg"])).removeprefix("Value error, ")
    return message.replace("Input should be", "must be").replace("greater than", "above")


def _found(fault: Mapping[str, Any], path: str, message: str) -> str:
    """Quote what was found, but for tables and what may hold a password."""
    found, near = fault["input"], ""
    if isinstance(found, dict | tuple | BaseModel) or fault["type"] in ("value_error", "missing"):
        return ""
    if path.endswith("url") and re.search("[@?#]", str(found)):
        return ""
    if fault["type"] == "literal_error" and isinstance(found, str):
        near = nearest(found, re.findall(r"'([^']+)'", message))
    return f", got {found!r}{near}"


def nearest(name: str, known: Iterable[str]) -> str:
    """Ask whether the nearest known name was meant; nothing if none is near."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""


def listed(names: Iterable[str]) -> str:
    """List names as pydantic does: 'a', 'b' or 'c'."""
    *first, last = (repr(name) for name in names)
    return f"{', '.join(first)} or {last}" if first else last
