"""Records as JSON: equal after the way there and back, to the last bit of a float."""

import math
import random
import struct
from dataclasses import fields, replace

import pytest

from llmatic_daemon.adapters.storage.json_format import AUDITS, EDITIONS, PLACEMENTS, SEARCHES
from llmatic_daemon.domain import Job, Placement
from tests.support.sample_placements import audit, edition, failure, saved_search, success

JOB = Job(number=1, attempt=1)


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
    text = PLACEMENTS.write(replace(failure(1, JOB), cost=2.0)).replace('"cost":2.0,', "")

    assert PLACEMENTS.read(text).cost == next(f.default for f in fields(Placement) if f.name == "cost")


def test_fact_that_only_a_newer_version_knows_is_passed_over():
    placement, _ = success(1, JOB)
    text = PLACEMENTS.write(placement).replace("{", '{"colour":"red",', 1)

    assert PLACEMENTS.read(text) == placement


def test_text_that_no_encoding_can_write_is_refused_before_it_is_stored():
    with pytest.raises(UnicodeEncodeError):
        PLACEMENTS.write(replace(failure(1, JOB), detail="\ud800")).encode()
