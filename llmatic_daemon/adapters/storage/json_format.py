"""How records are stored: as JSON by pydantic, from the fields of their classes."""

import json
from typing import Any, Generic, TypeVar

from pydantic import TypeAdapter

from llmatic_daemon.domain import Audit, Edition, Placement, SavedSearch

T = TypeVar("T")


class JsonFormat(Generic[T]):
    """Writes the records of one class as JSON, and reads them back equal, to the last bit of a float."""

    def __init__(self, kind: type[T], exclude: dict[str, Any] | None = None) -> None:
        """Choose the class; `exclude` names fields that are not stored, as pydantic takes them."""
        self._adapter = TypeAdapter(kind)
        self._exclude = exclude

    def write(self, record: T) -> str:
        """Return the record as JSON.

        Raises:
            ValueError: a number is not finite: JSON has no such number.
        """
        values = self._adapter.dump_python(record, mode="json", exclude=self._exclude)
        try:
            return json.dumps(values, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        except ValueError as error:
            raise ValueError(f"every number of a stored record must be finite, got {record!r}") from error

    def read(self, text: str) -> T:
        """Return the record that was written.

        Raises:
            ValueError: the text is not one of this class.
        """
        return self._adapter.validate_json(text)


PLACEMENTS = JsonFormat(Placement, exclude={"report": {"weights"}})
EDITIONS = JsonFormat(Edition)
AUDITS = JsonFormat(Audit)
SEARCHES = JsonFormat(SavedSearch)
