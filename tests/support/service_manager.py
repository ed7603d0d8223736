"""A service manager that remembers what it is told: the other end of sd_notify."""

import socket
from pathlib import Path


class Listener:
    """A datagram socket in a folder; also journald's, which is told in the same way."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.setblocking(False)

    @property
    def environment(self) -> dict[str, str]:
        """What a service finds in its environment."""
        return {"NOTIFY_SOCKET": str(self.path)}

    def heard(self) -> list[bytes]:
        """Return the datagrams that came since it was asked last."""
        found = []
        while True:
            try:
                found.append(self._socket.recv(1 << 20))
            except BlockingIOError:
                return found

    def received(self) -> list[str]:
        """Return them as text."""
        return [datagram.decode() for datagram in self.heard()]

    def close(self) -> None:
        self._socket.close()
