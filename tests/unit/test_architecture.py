"""The layout, executable: who may import whom, and where alone a package may be met."""

import ast
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from llmatic_daemon import PACKAGE_ROOT
from tests.support.paths import ROOT

PACKAGE = ROOT / "llmatic_daemon"
NAME = PACKAGE.name

#: The packages that each package may import beside itself. Arrows only fall: nothing below names one above.
MAY_IMPORT = {
    "domain": set[str](),
    "search": {"domain"},
    "adapters": {"domain"},
    "worker": {"domain"},
    "engine": {"search", "domain"},
    "config": {"search", "domain"},
    "bootstrap": {"config", "engine", "adapters", "search", "domain"},
    "daemon": {"bootstrap", "config", "engine", "adapters", "search", "domain"},
    "commands": {"daemon", "bootstrap", "config", "engine", "adapters", "search", "domain"},
    "cli": {"commands", "daemon", "bootstrap", "config", "engine", "adapters", "search", "domain"},
}
#: Below `adapters`, each folder holds one outside thing. Islands that may import another one, and why.
ISLANDS_MAY_IMPORT = {
    "http": {"storage"},  # the API reads the history of a search
    "nasbench": {"storage"},  # a table is written as safely as the files of a state folder
}

#: Third-party packages, and the only packages of ours that may import them.
ONLY_IN = {
    "torch": {"worker"},
    "torchvision": {"worker"},
    "ptflops": {"worker"},
    "safetensors": {"worker"},
    "pyseccomp": {"worker"},
    "pydantic": {"config", "adapters"},
    "immutables": {"search"},
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
#: Third-party packages that the search may import.
SEARCH_PACKAGES = {"annotated_types", "numpy", "immutables", "sklearn", "scipy", "threadpoolctl"}
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


def package_of(module: str) -> str:
    """Name the package directly below ours; empty for ours itself."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


def island_of(module: str) -> str:
    parts = module.split(".")
    return parts[2] if parts[1:2] == ["adapters"] and len(parts) > 2 else ""


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


def test_table_names_every_package():
    assert set(MAY_IMPORT) == {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").is_file()}
    assert all(name in MAY_IMPORT for below in MAY_IMPORT.values() for name in below)
    TopologicalSorter(MAY_IMPORT).prepare()  # raises CycleError: an arrow of the table climbs


@pytest.mark.parametrize("path", MODULES, ids=dotted)
def test_module_imports_only_packages_below_it(path: Path):
    mine = package_of(dotted(path))
    for imported in imports(parsed(path)):
        if imported.split(".")[0] == NAME and (theirs := package_of(imported)) and theirs != mine:
            assert theirs in MAY_IMPORT[mine], f"{mine} may not import {imported}"


@pytest.mark.parametrize("path", MODULES, ids=dotted)
def test_island_imports_no_other_island(path: Path):
    mine = island_of(dotted(path))
    for imported in imports(parsed(path)) if mine else ():
        theirs = island_of(imported)
        if theirs and theirs != mine:
            assert theirs in ISLANDS_MAY_IMPORT.get(mine, set()), f"adapters/{mine} may not import {imported}"


@pytest.mark.parametrize("path", MODULES, ids=dotted)
def test_third_party_packages_stay_where_they_belong(path: Path):
    mine = package_of(dotted(path))
    for package in {imported.split(".")[0] for imported in imports(parsed(path))} - {NAME}:
        assert mine in ONLY_IN.get(package, {mine}), f"{package} may not be imported in {mine}"
        assert mine != "search" or package in SEARCH_PACKAGES | sys.stdlib_module_names
        assert mine != "domain" or package in sys.stdlib_module_names


@pytest.mark.parametrize("path", MODULES, ids=dotted)
def test_module_imports_heavy_packages_inside_functions(path: Path):
    if package_of(dotted(path)) == "worker":
        return

    found = {name.split(".")[0] for name in at_the_top(parsed(path))}

    assert not found & ONLY_INSIDE_FUNCTIONS


def test_imports_have_no_circles():
    graph = {
        dotted(path): {name for name in at_the_top(parsed(path)) if name in NAMES} - {NAME}
        for path in MODULES
    }

    TopologicalSorter(graph).prepare()  # raises CycleError, which names them


def test_lifter_cannot_import_a_plugin():
    """What runs the code of an LLM does not even know that there are plugins."""
    imported, found = set[str](), {dotted(path) for path in (PACKAGE / "worker" / "lifting").glob("*.py")}
    while found:
        imported |= found
        found = {name for module in found for name in imported_by(module)} - imported

    assert f"{NAME}.worker.graph.module" in imported
    assert f"{NAME}.domain.plugins" not in imported


def imported_by(module: str) -> set[str]:
    """Name the modules of ours that one imports, wherever it does, with the packages that they lie in."""
    (path,) = (path for path in MODULES if dotted(path) == module)
    names = [name.split(".") for name in (*imports(parsed(path)), module)]
    return NAMES.intersection(".".join(parts[:end]) for parts in names for end in range(1, len(parts) + 1))


@pytest.mark.parametrize("path", MODULES, ids=dotted)
def test_module_says_in_its_first_line_what_lives_there(path: Path):
    source = path.read_text("utf-8")

    assert source.startswith('"""')
    assert ast.get_docstring(ast.parse(source))


def test_daemon_side_imports_neither_torch_nor_scikit_learn():
    names = [name for name in sorted(NAMES) if package_of(name) != "worker"]
    script = f"import sys, {', '.join(names)}; print(*sorted(sys.modules))"

    loaded = subprocess.run(
        [sys.executable, "-c", script], cwd=PACKAGE.parent, capture_output=True, text=True, check=True
    ).stdout.split()

    assert not {"torch", "torchvision", "safetensors", "ptflops", "sklearn", "scipy"} & set(loaded)


def test_package_root_is_the_folder_that_holds_this_package():
    assert PACKAGE_ROOT == PACKAGE
    assert (PACKAGE_ROOT / "py.typed").is_file()


def test_package_root_is_the_only_place_that_counts_folders():
    """Two of the three depths that it replaced decided what the sandbox shows to candidates."""
    counting = [dotted(path) for path in MODULES if "__file__)" in path.read_text("utf-8")]

    assert counting == [NAME]


def test_module_names_stand_once():
    """A module named after a command may stand beside the command's own."""
    commands = {path.stem for path in (PACKAGE / "cli").glob("*.py")} | {
        "lift",
        "export",
        "backup",
        "sandbox",
    }
    names = Counter(path.stem for path in MODULES if path.name != "__init__.py")

    assert [name for name, count in names.items() if count > 1 and name not in commands] == []


def test_class_names_stand_once():
    classes = Counter(
        node.name for path in MODULES for node in ast.walk(parsed(path)) if isinstance(node, ast.ClassDef)
    )

    assert [name for name, count in classes.items() if count > 1] == []
