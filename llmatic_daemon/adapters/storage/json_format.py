"""How records are stored: as JSON by pydantic, from the fields of their classes."""

import json
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, Generic, TypeVar, get_args, get_type_hints

from pydantic import TypeAdapter
from pydantic_core import from_json

from llmatic_daemon.domain import Audit, Edition, Placement, SavedSearch, TrainerDeath

T = TypeVar("T")


class JsonFormat(Generic[T]):
    """Writes the records of one class as JSON, and reads them back equal, to the last bit of a float.

    A field that is None, or equal to its default, is left out: the defaults are part of the format. The
    sign of a zero is lost where the default is 0.0. In the parts of a record, a field that may be None must
    have None as its default.
    """

    def __init__(self, kind: type[T], exclude: dict[str, Any] | None = None) -> None:
        """Choose the class; `exclude` names fields that are not stored, as pydantic takes them."""
        self._adapter = TypeAdapter(kind)
        self._exclude = exclude
        self._absent = dict.fromkeys(_required_but_nullable(kind))

    def write(self, record: T) -> str:
        """Return the record as JSON.

        Raises:
            ValueError: a number is not finite, or a text is not Unicode: JSON has no such value.
        """
        text = self._adapter.dump_json(
            record, exclude=self._exclude, exclude_defaults=True, exclude_none=True
        ).decode()
        if "null" in text:  # a number that is not finite, by pydantic
            self._check_finite(record)
        return text

    def _check_finite(self, record: T) -> None:
        try:
            json.dumps(self._adapter.dump_python(record, exclude=self._exclude, mode="json"), allow_nan=False)
        except ValueError as error:
            raise ValueError(f"every number of a stored record must be finite, got {record!r}") from error

    def read(self, text: str) -> T:
        """Return the record that was written.

        Raises:
            ValueError: the text is not one of this class.
        """
        return self._adapter.validate_python(self._absent | from_json(text))


def _required_but_nullable(kind: type[Any]) -> list[str]:
    """List the fields of a dataclass that have no default and may be None."""
    assert is_dataclass(kind)
    hints = get_type_hints(kind)
    required = (field.name for field in fields(kind) if field.default is field.default_factory is MISSING)
    return [name for name in required if type(None) in get_args(hints[name])]


PLACEMENTS = JsonFormat(Placement, exclude={"report": {"weights"}})
EDITIONS = JsonFormat(Edition)
AUDITS = JsonFormat(Audit)
DEATHS = JsonFormat(TrainerDeath)
SEARCHES = JsonFormat(SavedSearch)
