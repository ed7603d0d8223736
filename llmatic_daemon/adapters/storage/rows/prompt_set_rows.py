"""Editions of the prompt set as rows of the log, and back; runs inside a transaction."""

import json
import sqlite3
from typing import Any

from llmatic_daemon.domain import Edition, Prompt, PromptKind, PromptSet

_ADD = "INSERT INTO editions (number, num_settled, digest, emptied) VALUES (?, ?, ?, ?)"
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
_KEPT = "SELECT number, num_settled, digest, emptied FROM editions WHERE number = ?"
_VERSION = "SELECT kind, text FROM prompt_versions WHERE prompt = ? AND version = ?"
_ALL = "SELECT number, num_settled, emptied FROM editions WHERE number > ? ORDER BY number"
_PROMPTS = """
SELECT edition, prompt, version, slot, weight FROM edition_prompts WHERE edition > ?
ORDER BY edition, prompt"""


def add(connection: sqlite3.Connection, edition: Edition) -> None:
    """Keep an edition, its texts, and what it empties; one that was kept already is left as it is.

    A COMMIT that reported an error may be on the disk, and is asked for again.

    Raises:
        ValueError: its number is not the next one, or a known version has another text.
    """
    row = (
        edition.number,
        edition.num_settled,
        edition.prompts.digest,
        json.dumps(edition.emptied),
    )
    if connection.execute(_KEPT, (edition.number,)).fetchone() == row:
        return
    (last,) = connection.execute(_LAST).fetchone()
    if edition.number != last + 1:
        raise ValueError(f"the next edition's number must be {last + 1}, got {edition.number}")
    connection.execute(_ADD, row)
    for prompt, position in _with_positions(edition.prompts):
        _add_version(connection, prompt)
        member = (edition.number, prompt.id, prompt.version, position, prompt.weight)
        connection.execute(_ADD_PROMPT, member)
    connection.executemany(_EMPTY_CELL, [(cell,) for cell in edition.emptied])
    connection.execute(_END_REFUSALS)


def _with_positions(prompts: PromptSet) -> list[tuple[Prompt, int | None]]:
    return [*zip(prompts.mutation, prompts.axis_positions, strict=True), (prompts.crossover, None)]


def _add_version(connection: sqlite3.Connection, prompt: Prompt) -> None:
    version = (prompt.id, prompt.version)
    connection.execute(_ADD_VERSION, (*version, prompt.kind.value, prompt.text))
    if connection.execute(_VERSION, version).fetchone() != (prompt.kind.value, prompt.text):
        raise ValueError(f"prompt {prompt.name} must keep its text")


def add_refusal(connection: sqlite3.Connection, why: str) -> None:
    """Keep why a prompt set was not taken; empty: the last such reason has ended."""
    connection.execute(_END_REFUSALS)
    if why:
        connection.execute(_ADD_REFUSAL, (why,))


def read_all(connection: sqlite3.Connection, after: int = 0) -> list[Edition]:
    """Read the editions that follow a number, oldest first."""
    texts = {
        (prompt, version): (PromptKind(kind), text)
        for prompt, version, kind, text in connection.execute("SELECT * FROM prompt_versions")
    }
    members: dict[int, list[tuple[Any, ...]]] = {}
    for number, *member in connection.execute(_PROMPTS, (after,)):
        members.setdefault(number, []).append(tuple(member))
    return [
        Edition(
            number=number,
            num_settled=num_settled,
            prompts=_prompt_set(members[number], texts),
            emptied=tuple(json.loads(emptied)),
        )
        for number, num_settled, emptied in connection.execute(_ALL, (after,))
    ]


def _prompt_set(
    members: list[tuple[Any, ...]], texts: dict[tuple[str, int], tuple[PromptKind, str]]
) -> PromptSet:
    mutation, positions, crossover = [], [], None
    for id_, version, position, weight in members:
        kind, text = texts[id_, version]
        prompt = Prompt(id=id_, kind=kind, text=text, weight=weight, version=version)
        if position is None:
            crossover = prompt
        else:
            mutation.append(prompt)
            positions.append(position)
    assert crossover is not None
    return PromptSet(mutation=tuple(mutation), crossover=crossover, axis_positions=tuple(positions))
