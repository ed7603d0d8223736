"""What came through the control socket: who asks, and with which body; everything odd is refused."""

import json
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmatic_daemon.domain.errors import UserError

if TYPE_CHECKING:
    from aiohttp import web

#: Bytes that a body may have.
MAX_BODY_BYTES = 64 << 10
#: Where a verb finds the header If-Match: the digest of the prompt set that its caller knows.
IF_MATCH = "if_match"

_CREDENTIALS = struct.Struct("3i")


class BadBody(UserError):
    """A body must be a JSON object."""


@dataclass(frozen=True, slots=True)
class Actor:
    """The process at the other end of the socket, as the kernel knows it."""

    pid: int
    uid: int

    def __str__(self) -> str:
        return f"user {self.uid}, process {self.pid}"


def actor_of(request: "web.Request") -> Actor:
    """Ask the kernel who has connected; a process cannot lie about it."""
    assert request.transport is not None  # the request has just been read from it
    peer = request.transport.get_extra_info("socket")
    found = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, _ = _CREDENTIALS.unpack(found)
    return Actor(pid, uid)


async def body_of(request: "web.Request") -> Mapping[str, Any]:
    """Read the body, and the header If-Match beside it; no body is an empty one.

    Raises:
        BadBody: it is something else than a JSON object.
        HTTPRequestEntityTooLarge: it has more than MAX_BODY_BYTES.
    """
    content = await request.read()
    body = _object(content) if content else {}
    known = request.headers.get("If-Match", "*")
    return body if known == "*" else {**body, IF_MATCH: known.strip().strip('"')}


def _object(content: bytes) -> dict[str, Any]:
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise BadBody(f"the body must be a JSON object, and is no JSON: {error}") from error
    if not isinstance(found, dict):
        raise BadBody(f"the body must be a JSON object, found {type(found).__name__}")
    return found
