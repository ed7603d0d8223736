"""The wire: what one side encodes the other reads, and nothing that is over a limit is read."""

import asyncio
import io
import json
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmatic_daemon.domain import frames

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
headers = st.dictionaries(st.text().filter(lambda name: name != "blobs"), values, max_size=4)


async def from_stream(content: bytes, **limits: int) -> frames.Frame:
    stream = asyncio.StreamReader()
    stream.feed_data(content)
    stream.feed_eof()
    return await frames.read(stream, **limits)


def raw(text: bytes, *blobs: bytes) -> bytes:
    return struct.pack(">I", len(text)) + text + b"".join(blobs)


@given(header=headers, blobs=st.lists(st.binary(max_size=50), max_size=3))
def test_frame_is_read_as_it_was_encoded(header: dict[str, Any], blobs: list[bytes]):
    encoded = frames.encode(header, *blobs)

    assert asyncio.run(from_stream(encoded)) == (header, blobs)
    assert frames.read_file(io.BytesIO(encoded)) == (header, blobs)


def test_frames_follow_one_another():
    file = io.BytesIO(frames.encode({"a": 1}, b"x") + frames.encode({"b": 2}))

    assert frames.read_file(file) == ({"a": 1}, [b"x"])
    assert frames.read_file(file) == ({"b": 2}, [])


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_encode_refuses_numbers_that_are_not_finite(number: float):
    with pytest.raises(ValueError, match="JSON compliant"):
        frames.encode({"loss": number})


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (raw(b"no json"), "a header must be JSON"),
        (raw(b"\xff\xfe"), "a header must be JSON"),
        (raw(b"[" * 100_000), "a header must be JSON"),
        (raw(b"[]"), "a header must be an object, got list"),
        (raw(b"{}"), "'blobs' must be a list of lengths"),
        (raw(b'{"blobs": 3}'), "'blobs' must be a list of lengths"),
        (raw(b'{"blobs": [' + b"9" * 4000 + b"," + b"9" * 4000 + b"]}"), "list of lengths of at"),
        (raw(b'{"blobs": [-1]}'), "'blobs' must be a list of lengths"),
        (raw(b'{"blobs": [true]}'), "'blobs' must be a list of lengths"),
        (raw(b'{"blobs": [1.0]}'), "'blobs' must be a list of lengths"),
        (struct.pack(">I", frames.MAX_HEADER_BYTES + 1), "a header must have at most"),
        (raw(json.dumps({"blobs": [1 << 29, 1 << 29, 1]}).encode()), "blobs must have at most"),
    ],
)
async def test_read_refuses_what_is_no_frame(content: bytes, says: str):
    with pytest.raises(frames.FrameError, match=says):
        await from_stream(content)
    with pytest.raises(frames.FrameError, match=says):
        frames.read_file(io.BytesIO(content))


async def test_read_keeps_to_the_limits_it_is_given():
    content = frames.encode({"name": "x" * 100}, b"y" * 100)

    with pytest.raises(frames.FrameError, match="at most 50 bytes"):
        await from_stream(content, max_header_bytes=50)
    with pytest.raises(frames.FrameError, match="lengths of at most 99"):
        await from_stream(content, max_blob_bytes=99)


@given(cut=st.integers(0, 40))
def test_half_a_frame_is_an_end_not_a_frame(cut: int):
    content = frames.encode({"a": 1}, b"some bytes")[:-1][:cut]

    with pytest.raises(EOFError):
        frames.read_file(io.BytesIO(content))
    with pytest.raises(asyncio.IncompleteReadError):
        asyncio.run(from_stream(content))
