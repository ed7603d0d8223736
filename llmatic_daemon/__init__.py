"""A steady-state LLMatic: an LLM writes networks, two CVT-MAP-Elites archives steer it."""

__version__ = "0.5.0"
