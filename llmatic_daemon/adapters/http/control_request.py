"""Requests on the control socket: the calling process and the body."""

import json
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmatic_daemon.domain.errors import UserError

if TYPE_CHECKING:
    from aiohttp import web

#: Largest body, in bytes.
MAX_BODY_BYTES = 64 << 10
#: Key of the header If-Match: digest of the prompt set that the caller last read.
IF_MATCH = "if_match"

_CREDENTIALS = struct.Struct("3i")


class BadBody(UserError):
    """The body is not a JSON object."""


@dataclass(frozen=True, slots=True)
class Actor:
    """The calling process, as reported by the kernel."""

    pid: int
    uid: int

    def __str__(self) -> str:
        return f"user {self.uid}, process {self.pid}"


def actor_of(request: "web.Request") -> Actor:
    """Return the connected process; the kernel reports it, so it cannot be forged."""
    assert request.transport is not None  # set while a request is handled
    peer = request.transport.get_extra_info("socket")
    found = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, _ = _CREDENTIALS.unpack(found)
    return Actor(pid, uid)


async def body_of(request: "web.Request") -> Mapping[str, Any]:
    """Return the body together with the header If-Match; a missing body is an empty object.

    Raises:
        BadBody: it is not a JSON object.
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
        raise BadBody(f"the body must be a JSON object, got invalid JSON: {error}") from error
    if not isinstance(found, dict):
        raise BadBody(f"the body must be a JSON object, got {type(found).__name__}")
    return found
