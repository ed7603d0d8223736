"""Editions of the prompt set as rows of the log; runs inside a transaction.

The prompts of all editions have tables of their own, for questions about single prompts.
"""

import sqlite3

from llmatic_daemon.adapters.storage.json_format import EDITIONS
from llmatic_daemon.domain import Edition, Prompt

_SELECT = "SELECT entry FROM editions"
_ADD = "INSERT INTO editions (number, entry) VALUES (?, ?)"
_ADD_VERSION = """
INSERT INTO prompt_versions (prompt, version, kind, text) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING"""
_ADD_PROMPT = """
INSERT INTO edition_prompts (edition, prompt, version, slot, weight) VALUES (?, ?, ?, ?, ?)"""
_ADD_REFUSAL = """
INSERT INTO refusals (after_edition, why)
VALUES ((SELECT coalesce(max(number), 0) FROM editions), ?)"""
_END_REFUSALS = """
UPDATE refusals SET ended_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now') WHERE ended_at IS NULL"""
_EMPTY_CELL = "DELETE FROM prompt_elites WHERE cell = ?"
_LAST = "SELECT coalesce(max(number), 0) FROM editions"
_VERSION = "SELECT kind, text FROM prompt_versions WHERE prompt = ? AND version = ?"


def add(connection: sqlite3.Connection, edition: Edition) -> None:
    """Store an edition and its texts, and empty its cells; do nothing if this very edition is stored.

    A COMMIT that reported an error may be on the disk, and the caller tries again.

    Raises:
        ValueError: its number is not the next one, or a known version has another text.
    """
    entry = EDITIONS.write(edition)
    if connection.execute(f"{_SELECT} WHERE number = ?", (edition.number,)).fetchone() == (entry,):
        return
    (last,) = connection.execute(_LAST).fetchone()
    if edition.number != last + 1:
        raise ValueError(f"the next edition's number must be {last + 1}, got {edition.number}")
    connection.execute(_ADD, (edition.number, entry))
    prompts, positions = edition.prompts.all, (*edition.prompts.axis_positions, None)
    for prompt, position in zip(prompts, positions, strict=True):
        _add_version(connection, prompt)
        member = (edition.number, prompt.id, prompt.version, position, prompt.weight)
        connection.execute(_ADD_PROMPT, member)
    connection.executemany(_EMPTY_CELL, [(cell,) for cell in edition.emptied])
    connection.execute(_END_REFUSALS)


def _add_version(connection: sqlite3.Connection, prompt: Prompt) -> None:
    version = (prompt.id, prompt.version)
    connection.execute(_ADD_VERSION, (*version, prompt.kind.value, prompt.text))
    if connection.execute(_VERSION, version).fetchone() != (prompt.kind.value, prompt.text):
        raise ValueError(f"prompt {prompt.name} must keep its text")


def add_refusal(connection: sqlite3.Connection, why: str) -> None:
    """Store the reason for which a prompt set was rejected; an empty one ends the last reason."""
    connection.execute(_END_REFUSALS)
    if why:
        connection.execute(_ADD_REFUSAL, (why,))


def read_all(connection: sqlite3.Connection, after: int = 0) -> list[Edition]:
    """Return the editions that follow a number, oldest first."""
    rows = connection.execute(f"{_SELECT} WHERE number > ? ORDER BY number", (after,))
    return [EDITIONS.read(entry) for (entry,) in rows]
