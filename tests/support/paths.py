"""Where the checkout lies: found once, by its pyproject.toml, and never by counting folders."""

from pathlib import Path

ROOT = next(folder for folder in Path(__file__).parents if (folder / "pyproject.toml").is_file())
TESTS = ROOT / "tests"
assert TESTS in Path(__file__).parents
