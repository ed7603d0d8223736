"""Frames between the daemon and its child processes: a JSON header and blobs, all length-prefixed.

A frame is 4 bytes (big-endian) of header length, the header (a JSON object, UTF-8), and the blobs, whose
lengths are in the header under "blobs". There is no pickle, and each length is checked before it is used.
"""

import asyncio
import json
import struct
from typing import Any, BinaryIO

#: A longer header is rejected unread.
MAX_HEADER_BYTES = 64 << 20
#: Limit of all blobs of a frame together.
MAX_BLOB_BYTES = 1 << 30

_LENGTH = struct.Struct(">I")


class FrameError(Exception):
    """The bytes are no valid frame."""


Frame = tuple[dict[str, Any], list[bytes]]


def encode(header: dict[str, Any], *blobs: bytes) -> bytes:
    """Return one frame as bytes.

    Raises:
        ValueError: the header holds a number that is not finite.
    """
    text = json.dumps({**header, "blobs": [len(blob) for blob in blobs]}, allow_nan=False).encode()
    return b"".join((_LENGTH.pack(len(text)), text, *blobs))


def _header_length(prefix: bytes, limit: int) -> int:
    (length,) = _LENGTH.unpack(prefix)
    if length > limit:
        raise FrameError(f"a header must have at most {limit} bytes, got {length}")
    return int(length)


def _parse_header(text: bytes, max_blob_bytes: int) -> tuple[dict[str, Any], list[int]]:
    try:
        header = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FrameError(f"a header must be JSON: {error}") from error
    if not isinstance(header, dict):
        raise FrameError(f"a header must be an object, got {type(header).__name__}")
    sizes = header.pop("blobs", None)
    if not isinstance(sizes, list) or not all(_is_size(size, max_blob_bytes) for size in sizes):
        raise FrameError(f"'blobs' must be a list of lengths of at most {max_blob_bytes}")
    if sum(sizes) > max_blob_bytes:
        raise FrameError(f"blobs must have at most {max_blob_bytes} bytes together")
    return header, sizes


def _is_size(value: object, limit: int) -> bool:
    """Decide whether a value is an allowed length; an integer of a thousand digits is never printed."""
    return type(value) is int and 0 <= value <= limit


async def read(
    stream: asyncio.StreamReader,
    max_header_bytes: int = MAX_HEADER_BYTES,
    max_blob_bytes: int = MAX_BLOB_BYTES,
) -> Frame:
    """Read one frame from a stream.

    Raises:
        FrameError: the bytes are no frame, or over a limit.
        asyncio.IncompleteReadError: the stream ended.
    """
    length = _header_length(await stream.readexactly(_LENGTH.size), max_header_bytes)
    header, sizes = _parse_header(await stream.readexactly(length), max_blob_bytes)
    return header, [await stream.readexactly(size) for size in sizes]


def read_file(
    file: BinaryIO, max_header_bytes: int = MAX_HEADER_BYTES, max_blob_bytes: int = MAX_BLOB_BYTES
) -> Frame:
    """Read one frame from a blocking file.

    Raises:
        FrameError: the bytes are no frame, or over a limit.
        EOFError: the file ended.
    """
    length = _header_length(_exactly(file, _LENGTH.size), max_header_bytes)
    header, sizes = _parse_header(_exactly(file, length), max_blob_bytes)
    return header, [_exactly(file, size) for size in sizes]


def _exactly(file: BinaryIO, size: int) -> bytes:
    parts = bytearray()
    while len(parts) < size:
        part = file.read(min(size - len(parts), 1 << 20))
        if not part:
            raise EOFError("the other side closed")
        parts += part
    return bytes(parts)
