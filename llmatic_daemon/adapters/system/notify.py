"""Client for systemd's sd_notify protocol; does nothing outside systemd."""

import logging
import os
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

logger = logging.getLogger(__name__)

_USEC = 1_000_000


class ServiceManager:
    """The service manager that started the daemon.

    Args:
        environment: Variables with NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID.
    """

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._address = _address(environment.get("NOTIFY_SOCKET", ""))
        self._socket: socket.socket | None = None
        self._is_ready = False
        #: Time limit between two calls of `feed`, in seconds; None: there is no watchdog.
        self.watchdog_s = _watchdog_s(environment)

    @property
    def is_there(self) -> bool:
        """Whether a service manager is there."""
        return bool(self._address)

    def ready(self) -> None:
        """Report that the daemon is ready."""
        self._is_ready = True
        self.send("READY=1")

    def show(self, status: str) -> None:
        """Set the line that `systemctl status` shows."""
        self.send(f"STATUS={' '.join(status.split())}")

    def feed(self) -> None:
        """Reset the watchdog's timer."""
        self.send("WATCHDOG=1")

    def stopping(self) -> None:
        """Report that the daemon is stopping."""
        self.send("STOPPING=1")

    def extend(self, seconds: float) -> None:
        """Extend the time limit of the start or stop, in seconds from now."""
        self.send(f"EXTEND_TIMEOUT_USEC={int(seconds * _USEC)}")

    @contextmanager
    def reloading(self) -> Iterator[None]:
        """Report a reload while the context lasts."""
        if not self._is_ready:
            yield
            return
        self.send("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(_CLOCK) // 1000}")
        try:
            yield
        finally:
            self.send("READY=1")

    def send(self, *assignments: str) -> None:
        """Send assignments in one datagram; drop them if that fails."""
        if not self._address:
            return
        try:
            if self._socket is None:
                self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
                self._socket.setblocking(False)
            self._socket.sendto("\n".join(assignments).encode(), self._address)
        except OSError as error:  # an absent service manager must not end a search
            logger.debug("the message to the service manager was dropped: %s", error)

    def close(self) -> None:
        """Close the socket; later messages are dropped."""
        if self._socket is not None:
            with suppress(OSError):
                self._socket.close()
        self._socket, self._address = None, ""


_CLOCK = time.CLOCK_MONOTONIC


def _address(name: str) -> str:
    """Return a socket's address; a leading `@` marks an abstract one."""
    return f"\0{name[1:]}" if name.startswith("@") else name


def _watchdog_s(environment: Mapping[str, str]) -> float | None:
    """Return the watchdog's time limit in seconds, or None if it watches no process or another one."""
    try:
        time_s = int(environment.get("WATCHDOG_USEC", "0")) / _USEC
    except ValueError:
        return None
    is_ours = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
    return time_s if is_ours and time_s > 0 else None
