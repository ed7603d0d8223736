"""A steady-state LLMatic: an LLM writes networks, two CVT-MAP-Elites archives steer it."""

from pathlib import Path

__version__ = "0.6.0"

#: Folder of this package: what the sandbox shows to candidates, and where child processes import it from.
PACKAGE_ROOT = Path(__file__).parent
