"""Somebody who edits prompts, as a process: `python -m tests.support.prompt_editor FOLDER NUM SEED RECORD`.

Saves in every way that editors do, and makes files bad now and then that are repaired later. After
each edit a line of JSON in RECORD tells what was done, how long the save took, and the digest of the
set that the folder holds now; null: it is no good set.
"""

import hashlib
import json
import os
import random
import shutil
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

#: What a file says: kind, text, weight; None: it is bad.
Said = tuple[str, str, float]

# --- ways of saving ------------------------------------------------------------------------------


@dataclass
class Hesitation:
    """A pause in the middle of writing, now and then: shorter than a set takes to settle."""

    longest_s: float = 0.0
    chance: random.Random = field(default_factory=lambda: random.Random(1))

    def __call__(self) -> None:
        if self.longest_s and self.chance.random() < 0.3:
            time.sleep(self.longest_s * self.chance.uniform(0.5, 1.0))


hesitate = Hesitation()


def _in_halves(descriptor: int, content: bytes) -> None:
    half = len(content) // 2
    os.write(descriptor, content[:half])
    hesitate()
    os.write(descriptor, content[half:])


def in_place(path: Path, content: bytes) -> None:
    """Overwrite what is there in two halves, and cut the rest off."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
    _in_halves(descriptor, content)
    os.ftruncate(descriptor, len(content))
    os.close(descriptor)


def truncated(path: Path, content: bytes) -> None:
    """Empty the file first, and write it in two halves."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    _in_halves(descriptor, content)
    os.close(descriptor)


def renamed_over(path: Path, content: bytes) -> None:
    """Write a hidden file beside it, and rename that over it."""
    beside = path.with_name(f".{path.name}.tmp")
    truncated(beside, content)
    beside.replace(path)


def as_vim(path: Path, content: bytes) -> None:
    """Keep the old file as a backup while the new one is written, then remove it."""
    backup = path.with_name(f"{path.name}~")
    if path.exists():
        path.replace(backup)
    truncated(path, content)
    backup.unlink(missing_ok=True)


def as_sed(path: Path, content: bytes) -> None:
    """Write `sedXXXXXX` without access, then give it the mode, and rename it over the file."""
    beside = path.with_name(f"sed{random.randrange(10**6):06}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    _in_halves(descriptor, content)
    os.fchmod(descriptor, 0o644)
    os.close(descriptor)
    beside.replace(path)


def anew(path: Path, content: bytes) -> None:
    """Delete the file, and create it anew."""
    path.unlink(missing_ok=True)
    truncated(path, content)


def linked(path: Path, content: bytes) -> None:
    """Write the new version into a folder below, and swap a link to it."""
    versions = path.with_name("..versions")
    versions.mkdir(exist_ok=True)
    version = versions / f"{path.stem}.{time.monotonic_ns()}"
    truncated(version, content)
    link = path.with_name("..new")
    link.symlink_to(version.relative_to(path.parent))
    link.replace(path)


STYLES: dict[str, Callable[[Path, bytes], None]] = {
    "in place": in_place,
    "truncated": truncated,
    "renamed over": renamed_over,
    "vim": as_vim,
    "sed -i": as_sed,
    "anew": anew,
    "linked": linked,
}


def save(style: str, path: Path, content: bytes) -> None:
    """Save a file; what goes through a link would be written elsewhere, so it becomes a file."""
    if path.is_symlink() and style in ("in place", "truncated"):
        path.unlink()
    STYLES[style](path, content)


# --- what is in a file ---------------------------------------------------------------------------

BAD: dict[str, bytes] = {
    "empty": b"",
    "open fence": b"+++\nweight = 2.0\nWiden it.",
    "no TOML": b"+++\nweight = two\n+++\nWiden it.",
    "unknown setting": b"+++\nwieght = 2.0\n+++\nWiden it.",
    "weight": b"+++\nweight = 0\n+++\nWiden it.",
    "kind": b"+++\nkind = 'both'\n+++\nWiden it.",
    "placeholder": b"Widen\n{sorce} it.",
    "brace": b"Widen } it.",
    "layout": b'Look:\n"""Widen it."""',
    "bytes": b"Widen \xff\xfe it.",
    "too long": b"wide " * 4000,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class File:
    """A good prompt file."""

    kind: str = "mutation"
    text: str
    weight: float = 1.0
    enabled: bool = True

    @property
    def content(self) -> bytes:
        """Write it out."""
        head = f'kind = "{self.kind}"\nweight = {self.weight}\nenabled = {str(self.enabled).lower()}'
        return f"+++\n{head}\n+++\n{self.text}\n".encode()


def digest_of(prompts: Iterable[tuple[str, str, str, float]]) -> str:
    """Name a set by the (id, kind, text, weight) of its prompts."""
    return hashlib.sha256(repr(sorted(prompts)).encode()).hexdigest()


def set_digest(files: dict[str, File | None]) -> str | None:
    """Name what a folder holds; None when it is no good set. None stands for a bad file."""
    good = {name: file for name, file in files.items() if file is not None}
    used = {name: file for name, file in good.items() if file.enabled}
    kinds = [file.kind for file in used.values()]
    if len(good) < len(files) or kinds.count("crossover") != 1 or "mutation" not in kinds:
        return None
    return digest_of((name, f.kind, f.text, f.weight) for name, f in used.items())


# --- the editor ----------------------------------------------------------------------------------

NAMES = [f"p{number:02}" for number in range(24)]
#: Below the prompt archive's slots.
MAX_FILES = 14


@dataclass
class Editor:
    """Somebody in front of a folder; knows all that is in it."""

    folder: Path
    chance: random.Random
    files: dict[str, File | None] = field(default_factory=dict)
    #: What a file said before it became bad or was removed.
    good: dict[str, File] = field(default_factory=dict)
    num_texts: int = 0
    num_saves: int = 0

    def begin(self) -> None:
        """Write a first good set."""
        self.folder.mkdir(exist_ok=True)
        for name in NAMES[:6]:
            self._save(name, File(text=self._text(name)))
        self._save("join", File(kind="crossover", text="Join them."))

    def edit(self) -> str:
        """Change one file; say how."""
        troubled = self._troubled()
        if troubled and self.chance.random() < 0.6:
            return self._repair(troubled)
        steps = [self._rewrite, self._weigh, self._add, self._remove, self._switch, self._spoil]
        return self.chance.choices(steps, [40, 10, 12, 10, 10, 18])[0]()

    def repair_all(self) -> Iterable[str]:
        """Make the folder good again, and change one text in the end, one edit each."""
        while troubled := self._troubled():
            yield self._repair(troubled)
        yield self._rewrite(again=0.0)

    def _troubled(self) -> list[str]:
        """Name the files that keep the folder from being good."""
        bad = [name for name, file in self.files.items() if file is None]
        second = [n for n, f in self.files.items() if f and f.kind == "crossover" and n != "join"]
        join = self.files.get("join")
        return [*bad, *second, *([] if join is None or join.enabled else ["join"])] + (
            ["join"] if "join" not in self.files else []
        )

    def _repair(self, troubled: list[str]) -> str:
        name = self.chance.choice(troubled)
        kind = "crossover" if name == "join" else "mutation"
        self._save(name, replace(self.good[name], kind=kind, enabled=True))
        return f"repair {name}"

    def _rewrite(self, again: float = 0.2) -> str:
        name = self._some()
        self._save(name, replace(self.good[name], text=self._text(name, again)))
        return f"rewrite {name}"

    def _weigh(self) -> str:
        name = self._some()
        weight = self.chance.choice([0.25, 0.5, 1.0, 2.0, 3.5])
        self._save(name, replace(self.good[name], weight=weight))
        return f"weigh {name}"

    def _add(self) -> str:
        absent = [name for name in NAMES if name not in self.files]
        if len(self.files) >= MAX_FILES:
            return self._rewrite()
        name = self.chance.choice(absent)
        self._save(name, File(text=self._text(name)))
        return f"add {name}"

    def _remove(self) -> str:
        name = self.chance.choice([*self.files]) if len(self.files) > 5 else self._some()
        if not self._can_spare(name):
            return self._rewrite()
        self._clear(name)
        del self.files[name]
        return f"remove {name}"

    def _switch(self) -> str:
        name = self._some()
        file = self.good[name]
        if file.enabled and not self._can_spare(name):
            return self._rewrite()
        self._save(name, replace(file, enabled=not file.enabled))
        return f"switch {name}"

    def _spoil(self) -> str:
        """Make a file bad, or the set: a second crossover prompt, a folder, a link to elsewhere."""
        name = self._some()
        how = self.chance.choice([*BAD, "crossover", "folder", "link"])
        if how in BAD:
            self._save(name, None, BAD[how])
        elif how == "crossover":
            self._save(name, replace(self.good[name], kind="crossover"))
        else:
            self._put_in_place(name, how)
        return f"spoil {name}: {how}"

    def _put_in_place(self, name: str, how: str) -> None:
        path = self._path(name)
        beside = path.with_name("..elsewhere")
        if how == "folder":
            beside.mkdir()
            path.unlink()
        else:
            beside.symlink_to(self.chance.choice(["/etc/hostname", "nowhere"]))
        beside.replace(path)
        self.files[name] = None

    def _some(self) -> str:
        """Choose a file that is good; there are always some."""
        return self.chance.choice([name for name, file in self.files.items() if file is not None])

    def _can_spare(self, name: str) -> bool:
        others = [f for n, f in self.files.items() if f and f.enabled and n not in (name, "join")]
        return len(others) >= 3

    def _save(self, name: str, file: File | None, content: bytes = b"") -> None:
        path = self._path(name)
        if path.is_dir() or path.is_symlink():
            self._clear(name)
        style = [*STYLES][self.num_saves % len(STYLES)]
        self.num_saves += 1
        save(style, path, file.content if file else content)
        self.files[name] = file
        if file:
            self.good[name] = file

    def _clear(self, name: str) -> None:
        path = self._path(name)
        if path.is_dir() and not path.is_symlink():
            path.rmdir()
        else:
            path.unlink()

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.md"

    def _text(self, name: str, again: float = 0.2) -> str:
        """Write a new text, or now and then one of the first ones again."""
        self.num_texts += 1
        is_old = self.num_texts > 20 and self.chance.random() < again
        number = self.chance.randrange(3) if is_old else self.num_texts
        return f"Change {name} in way {number}.\n" + f"This is line {number}.\n" * (number % 9) + "."


def main() -> None:
    """Edit NUM times, with a pause now and then that lets a set settle; leave a good one."""
    folder, num, seed, record = sys.argv[1:5]
    settle_s = float(sys.argv[5]) if len(sys.argv) > 5 else 0.2
    editor = Editor(Path(folder), random.Random(int(seed)))
    hesitate.longest_s = settle_s * 0.45
    if Path(folder).exists():
        shutil.rmtree(folder)
    editor.begin()
    with open(record, "w", buffering=1) as lines:
        _note(lines.write, editor, "begin", 0.0)
        sys.stdin.readline()  # until the search runs
        for _ in range(int(num)):
            _timed(lines.write, editor, editor.edit)
            _rest(editor.chance, settle_s)
        for _ in _repairs(lines.write, editor):
            pass


def _rest(chance: random.Random, settle_s: float) -> None:
    """Go on at once, after a moment, or when the set has surely settled."""
    if chance.random() < 0.2:
        time.sleep(settle_s * 2 + 0.1)
    else:
        time.sleep(chance.random() * settle_s / 10)


def _repairs(write: Callable[[str], object], editor: Editor) -> Iterable[None]:
    repairs = iter(editor.repair_all())
    while True:
        started = time.monotonic()
        what = next(repairs, None)
        if what is None:
            return
        _note(write, editor, what, time.monotonic() - started)
        yield


def _timed(write: Callable[[str], object], editor: Editor, edit: Callable[[], str]) -> None:
    started = time.monotonic()
    what = edit()
    _note(write, editor, what, time.monotonic() - started)


def _note(write: Callable[[str], object], editor: Editor, what: str, save_s: float) -> None:
    digest, now = set_digest(editor.files), time.monotonic()
    row = {"what": what, "save_s": save_s, "digest": digest, "at": now}
    write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
