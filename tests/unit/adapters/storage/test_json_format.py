"""Records as JSON: equal after the way there and back, to the last bit of a float."""

import json
import math
import random
import struct
from dataclasses import MISSING, fields, is_dataclass, replace
from typing import Any, get_args, get_type_hints

import pytest

from llmatic_daemon.adapters.storage.json_format import AUDITS, EDITIONS, PLACEMENTS, SEARCHES
from llmatic_daemon.domain import Audit, Edition, Epoch, Job, Placement, SavedSearch, TrainerDeath
from tests.support.sample_placements import audit, edition, failure, saved_search, success

JOB = Job(number=1, attempt=1)
#: Whole records; they have parts.
RECORDS = (Placement, Audit, Edition, SavedSearch, TrainerDeath)


def any_float(rng: random.Random) -> float:
    while True:
        (value,) = struct.unpack("d", rng.randbytes(8))
        if math.isfinite(value):
            return value


@pytest.mark.parametrize("value", [-0.0, 1e-320, 5e-324, 1.7976931348623157e308, 0.1 + 0.2, 1e22, 2.0])
def test_floats_keep_every_bit(value: float):
    written = replace(failure(1, JOB), elapsed_s=value)

    assert repr(PLACEMENTS.read(PLACEMENTS.write(written))) == repr(written)


def test_random_floats_keep_every_bit():
    rng = random.Random(7)
    placement = failure(1, JOB)
    for _ in range(2000):
        written = replace(placement, elapsed_s=any_float(rng))
        assert repr(PLACEMENTS.read(PLACEMENTS.write(written))) == repr(written)


@pytest.mark.parametrize("seed", [0, 2**53 + 1, 2**63 - 1])
def test_seeds_of_64_bits_are_kept(seed: int):
    written = replace(failure(1, JOB), seed=seed)

    assert PLACEMENTS.read(PLACEMENTS.write(written)).seed == seed


def test_records_of_each_class_are_read_as_they_were_written():
    placement, _ = success(1, JOB)

    assert repr(PLACEMENTS.read(PLACEMENTS.write(placement))) == repr(placement)
    assert repr(AUDITS.read(AUDITS.write(audit(1, placement)))) == repr(audit(1, placement))
    assert repr(EDITIONS.read(EDITIONS.write(edition(1, "a", "b")))) == repr(edition(1, "a", "b"))
    assert repr(SEARCHES.read(SEARCHES.write(saved_search()))) == repr(saved_search())


def test_weights_are_not_written():
    placement, _ = success(1, JOB)
    assert placement.report
    heavy = replace(placement, report=replace(placement.report, weights=b"many"))

    assert PLACEMENTS.write(heavy) == PLACEMENTS.write(placement)


def test_fact_that_an_older_version_did_not_know_has_its_default():
    text = PLACEMENTS.write(replace(failure(1, JOB), cost=2.0)).replace(',"cost":2.0', "")

    assert "cost" not in text
    assert PLACEMENTS.read(text).cost == next(f.default for f in fields(Placement) if f.name == "cost")


def test_fact_that_only_a_newer_version_knows_is_passed_over():
    placement, _ = success(1, JOB)
    text = PLACEMENTS.write(placement).replace("{", '{"colour":"red",', 1)

    assert PLACEMENTS.read(text) == placement


def test_text_that_no_encoding_can_write_is_refused_before_it_is_stored():
    with pytest.raises(ValueError, match="surrogates not allowed"):
        PLACEMENTS.write(replace(failure(1, JOB), detail="\ud800"))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_number_that_is_not_finite_is_refused_wherever_it_stands(value: float):
    placement, _ = success(1, JOB)
    assert placement.report
    curve = (Epoch(number=1, train_loss=value, accuracy=0.5),)

    with pytest.raises(ValueError, match="must be finite"):
        PLACEMENTS.write(replace(placement, elapsed_s=value))
    with pytest.raises(ValueError, match="must be finite"):
        PLACEMENTS.write(replace(placement, report=replace(placement.report, curve=curve)))


def test_text_that_looks_like_a_missing_number_is_kept():
    placement = replace(failure(1, JOB), detail="null, NaN")

    assert PLACEMENTS.read(PLACEMENTS.write(placement)) == placement


def test_defaults_are_left_out_and_never_change():
    """They are part of the format: an entry without a field was written with its default."""
    defaults = {
        "Durations": {"llm_s": 0.0, "lift_s": 0.0, "wait_s": 0.0, "train_s": 0.0, "total_s": 0.0},
        "Contender": {"is_audited": False, "is_suspect": False},
        "Elite": {"rung_accuracy": None, "rung_ratio": 0.0, "structure": (), "trainer": ""},
        "Job": {"num_charged": 0},
        "Placement": {
            "by_rule": False,
            "rung_accuracy": None,
            "rung_ratio": 0.0,
            "cost": 0.0,
            "structure": (),
            "violation": None,
        },
        "Prompt": {"weight": 1.0, "version": 0},
        "Report": {"weights": None, "normalisation": None, "rung_accuracy": None, "cost": 1.0, "trainer": ""},
        "TrainerDeath": {"suspects": ()},
    }
    text = PLACEMENTS.write(failure(1, JOB))

    assert {kind.__name__: found for kind in stored_kinds() if (found := defaults_of(kind))} == defaults
    assert json.loads(text)["job"] == {"number": 1, "attempt": 1}
    assert json.loads(text).keys().isdisjoint({*defaults["Placement"], "report", "cell"})


def test_part_of_a_record_is_none_by_default_where_it_may_be_none():
    for kind in stored_kinds() - set(RECORDS):
        for name, hint in get_type_hints(kind).items():
            assert type(None) not in get_args(hint) or defaults_of(kind)[name] is None


def defaults_of(kind: type) -> dict[str, object]:
    return {field.name: field.default for field in fields(kind) if field.default is not MISSING}


def stored_kinds() -> set[type]:
    """Return the classes of stored records and of all their parts."""
    found: set[type] = set()
    left: list[Any] = list(RECORDS)
    while left:
        kind = left.pop()
        if is_dataclass(kind) and kind not in found:
            found.add(kind)
            left.extend(get_type_hints(kind).values())
        left.extend(get_args(kind))
    return found
