"""What is said to the service manager (sd_notify), in datagrams; nothing where there is none."""

import logging
import os
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

logger = logging.getLogger(__name__)

_USEC = 1_000_000


class ServiceManager:
    """The manager that started us; every word is lost where nobody listens.

    Args:
        environment: Where NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID are looked up.
    """

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._address = _address(environment.get("NOTIFY_SOCKET", ""))
        self._socket: socket.socket | None = None
        self._is_ready = False
        #: Seconds within which the watchdog must be fed; None: there is none.
        self.watchdog_s = _watchdog_s(environment)

    @property
    def is_there(self) -> bool:
        """Tell whether somebody listens."""
        return bool(self._address)

    def ready(self) -> None:
        """Say that jobs can be dispatched."""
        self._is_ready = True
        self.tell("READY=1")

    def show(self, status: str) -> None:
        """Show one line to whoever asks `systemctl status`."""
        self.tell(f"STATUS={' '.join(status.split())}")

    def feed(self) -> None:
        """Feed the watchdog."""
        self.tell("WATCHDOG=1")

    def stopping(self) -> None:
        """Say that the end has begun."""
        self.tell("STOPPING=1")

    def extend(self, seconds: float) -> None:
        """Ask for this much time from now on, while starting or stopping."""
        self.tell(f"EXTEND_TIMEOUT_USEC={int(seconds * _USEC)}")

    @contextmanager
    def reloading(self) -> Iterator[None]:
        """Say that we reload while the context lasts, whatever comes of it."""
        if not self._is_ready:
            yield
            return
        self.tell("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(_CLOCK) // 1000}")
        try:
            yield
        finally:
            self.tell("READY=1")

    def tell(self, *assignments: str) -> None:
        """Send assignments in one datagram; one that does not get through is lost."""
        if not self._address:
            return
        try:
            if self._socket is None:
                self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
                self._socket.setblocking(False)
            self._socket.sendto("\n".join(assignments).encode(), self._address)
        except OSError as error:  # a manager that does not listen must not end a search
            logger.debug("the service manager was not told: %s", error)

    def close(self) -> None:
        """Say nothing more."""
        if self._socket is not None:
            with suppress(OSError):
                self._socket.close()
        self._socket, self._address = None, ""


_CLOCK = time.CLOCK_MONOTONIC


def _address(name: str) -> str:
    """Read a socket's name; `@` stands for the zero byte of an abstract one."""
    return f"\0{name[1:]}" if name.startswith("@") else name


def _watchdog_s(environment: Mapping[str, str]) -> float | None:
    """Read the watchdog's time; None where it is not ours to feed."""
    try:
        time_s = int(environment.get("WATCHDOG_USEC", "0")) / _USEC
    except ValueError:
        return None
    is_ours = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
    return time_s if is_ours and time_s > 0 else None
