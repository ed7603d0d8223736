"""Formatting of numbers and texts for people."""

from llmatic_daemon.domain.networks import Measures


def count(number: float) -> str:
    """Format a large number with three digits and a unit: 41.2 M."""
    for limit, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if abs(number) >= limit:
            return f"{number / limit:.3g}{unit}"
    return f"{number:.0f}"


def without_surrogates(text: str) -> str:
    """Replace lone surrogates, which UTF-8 cannot encode; what others wrote may contain them."""
    return text.encode(errors="replace").decode()


def ratio(measures: Measures) -> str:
    """Format the width-to-depth ratio as width/depth."""
    return f"{measures.width}/{measures.depth}"
