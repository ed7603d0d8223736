"""Many variants of one test: a sample of them in each run of the suite, the others when asked for."""

from collections.abc import Collection, Iterable
from typing import Any

import pytest


def sampled(variants: Iterable[Any], sample: Collection[Any]) -> list[Any]:
    """Return variants as parameters of a test, those outside the sample marked `exhaustive`.

    Args:
        variants: A tuple each where the test has several parameters.
        sample: Those of them that run by default.

    Raises:
        AssertionError: the sample names a variant that is none.
    """
    known = list(variants)
    assert set(sample) <= set(known), f"{set(sample) - set(known)} must be among the variants"
    return [each if each in sample else _exhaustive(each) for each in known]


def first_of(*variants: tuple[Any, ...]) -> list[Any]:
    """Return variants as parameters of a test, all but the first marked `exhaustive`."""
    return sampled(variants, variants[:1])


def _exhaustive(variant: Any) -> Any:
    values = variant if isinstance(variant, tuple) else (variant,)
    return pytest.param(*values, marks=pytest.mark.exhaustive)
