"""The layout, executable: who may import whom, and where alone a package may be met."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from llmatic_daemon import PACKAGE_ROOT

PACKAGE = Path(__file__).parents[1] / "llmatic_daemon"
NAME = PACKAGE.name

#: Rooms, and the rooms that each may import; a room may always import itself, and the leaves.
MAY_IMPORT = {
    "records": set[str](),
    "cells": set[str](),
    "errors": set[str](),
    "frames": set[str](),
    "failpoints": set[str](),
    "sandbox": set[str](),
    "ports": {"records", "errors"},
    "core": {"records", "errors"},
    "engine": {"core", "ports", "records", "errors"},
    "adapters": {"ports", "records", "errors"},
    "worker": {"records"},
    "config": {"errors"},
}
#: Wires, kill points and names of the standard library alone, that anyone may import.
LEAVES = {"cells", "frames", "failpoints", "sandbox"}
#: Everything else puts parts together: it may import all rooms but these.
NOT_FOR_COMPOSITION = {"worker"}
#: What only the one above may import.
TOP = {"cli": set[str](), "daemon": {"cli"}}

#: Packages that are met in these rooms alone.
ONLY_IN = {
    "torch": {"worker"},
    "torchvision": {"worker"},
    "ptflops": {"worker"},
    "safetensors": {"worker"},
    "pyseccomp": {"worker"},
    "pydantic": {"config", "adapters"},
    "immutables": {"core"},
    "sqlite3": {"adapters"},
    "sqlite_utils": {"adapters"},
    "prometheus_client": {"adapters"},
    "aiohttp": {"adapters"},
    "httpx2": {"adapters"},
    "huggingface_hub": {"adapters"},
    "openai": {"adapters"},
    "nats_bench": {"adapters"},
    "tenacity": {"adapters"},
    "watchfiles": {"adapters"},
    "click": {"cli"},
    "pickle": set[str](),
    "marshal": set[str](),
    "shelve": set[str](),
}
#: Packages that the core may import; all others but the standard library stay out.
CORE_PACKAGES = {"numpy", "immutables", "sklearn", "scipy", "threadpoolctl"}
#: Too heavy to import before they are needed.
ONLY_INSIDE_FUNCTIONS = {"sklearn", "scipy", "threadpoolctl"}

MODULES = sorted(PACKAGE.rglob("*.py"))


def dotted(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


NAMES = {dotted(path) for path in MODULES}


def imports(tree: ast.AST) -> Iterator[str]:
    """List the modules that a tree imports, wherever it does."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports must be absolute"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield full if full in NAMES else str(node.module)


def at_the_top(tree: ast.Module) -> Iterator[str]:
    for statement in tree.body:
        if not isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield from imports(statement)


def room(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


@pytest.mark.parametrize("path", MODULES, ids=dotted)
def test_module_imports_only_what_its_room_may(path: Path):
    mine = room(dotted(path))
    for imported in imports(parsed(path)):
        package, theirs = imported.split(".")[0], room(imported)
        if package != NAME:
            assert mine in ONLY_IN.get(package, {mine}), f"{imported} may not be imported in {mine}"
            assert mine != "core" or package in CORE_PACKAGES | sys.stdlib_module_names
            assert mine not in LEAVES | {"records", "errors"} or package in sys.stdlib_module_names
        elif theirs and theirs != mine and theirs not in LEAVES:
            allowed = MAY_IMPORT.get(mine, {theirs} - NOT_FOR_COMPOSITION)
            assert theirs in allowed, f"{mine} may not import {theirs}"
            assert mine in TOP.get(theirs, {mine}), f"{mine} may not import {theirs}"


@pytest.mark.parametrize("path", MODULES, ids=dotted)
def test_module_imports_heavy_packages_inside_functions(path: Path):
    if room(dotted(path)) == "worker":
        return

    found = {name.split(".")[0] for name in at_the_top(parsed(path))}

    assert not found & ONLY_INSIDE_FUNCTIONS


def test_imports_have_no_circles():
    graph = {
        dotted(path): {name for name in at_the_top(parsed(path)) if name in NAMES} - {NAME}
        for path in MODULES
    }

    TopologicalSorter(graph).prepare()  # raises CycleError, which names them


@pytest.mark.parametrize("path", MODULES, ids=dotted)
def test_module_says_in_its_first_line_what_lives_there(path: Path):
    source = path.read_text("utf-8")

    assert source.startswith('"""')
    assert ast.get_docstring(ast.parse(source))


def test_daemon_side_imports_neither_torch_nor_scikit_learn():
    names = [name for name in sorted(NAMES) if room(name) not in ("worker", "__main__")]
    script = f"import sys, {', '.join(names)}; print(*sorted(sys.modules))"

    loaded = subprocess.run(
        [sys.executable, "-c", script],
        cwd=PACKAGE.parent,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()

    assert not {"torch", "torchvision", "safetensors", "ptflops", "sklearn", "scipy"} & set(loaded)


def test_package_root_is_the_folder_that_holds_this_package():
    assert PACKAGE_ROOT == PACKAGE
    assert (PACKAGE_ROOT / "py.typed").is_file()


def test_package_root_is_the_only_place_that_counts_folders():
    """Two of the three depths that it replaced decided what the sandbox shows to candidates."""
    counting = [dotted(path) for path in MODULES if "__file__)" in path.read_text("utf-8")]

    assert counting == [NAME]
