"""A throw-away world around the lifter: what a hostile program would steal, change, kill or talk to."""

import contextlib
import hashlib
import http.server
import os
import shutil
import signal
import socket
import sqlite3
import stat
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import llmatic_daemon
from llmatic_daemon.adapters import schema

SECRET = "-----BEGIN PRIVATE KEY----- decoy"  # noqa: S105 - a decoy
_SYSTEM_V = Path("/proc/sysvipc/shm")


class World:
    """Folders, processes and sockets that only a program which leaves its sandbox can reach."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="hostile-world-"))
        self.folder.chmod(0o755)  # another user may enter: only modes and layers keep it out
        self._fill()
        self.contacts: list[str] = []
        self._listeners = [self._serve_http(), *self._listen()]
        self.daemon, self.bystander = self._start("daemon"), self._start("bystander")
        self.victim: dict[str, object] = {
            "secret": str(self.folder / "home/.ssh/id_ed25519"),
            "home": str(self.folder / "home"),
            "state": str(self.folder / "state"),
            "port": self.port,
            "pid": self.bystander.pid,
            "daemon": self.daemon.pid,
            "abstract": self.abstract,
            "shared": self.shared.name,
            "package": str(self.folder / "package/llmatic_daemon"),
            "writable": str(self.folder / "writable"),
        }
        self._before = self._state()

    @property
    def tmp(self) -> Path:
        """Where the lifter keeps its temporary files when it has no private view."""
        return self.folder / "tmp"

    def changes(self) -> list[str]:
        """Name all that is not as it was, in a line each."""
        now = self._state()
        changed = sorted(
            name for name in now.keys() | self._before.keys() if now.get(name) != self._before.get(name)
        )
        dead = [p.args[0] for p in (self.daemon, self.bystander) if not _is_well(p)]
        return [*changed, *dead, *self.contacts]

    def close(self) -> None:
        """End its processes and remove it, whatever became of it."""
        for listener in self._listeners:
            listener.close()
        for process in (self.daemon, self.bystander):
            process.kill()
            process.wait()
        self.shared.unlink(missing_ok=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _fill(self) -> None:
        for name, mode in (("home", 0o755), ("home/.ssh", 0o755), ("state", 0o755)):
            (self.folder / name).mkdir()
            (self.folder / name).chmod(mode)
        for name, mode in (("writable", 0o777), ("tmp", 0o1777)):
            (self.folder / name).mkdir()
            (self.folder / name).chmod(mode)
        key = self.folder / "home/.ssh/id_ed25519"
        key.write_text(SECRET)
        key.chmod(0o600)
        (self.folder / "home/notes.txt").write_text("for everybody")
        database = self.folder / "state/llmatic.sqlite"
        connection = sqlite3.connect(database)
        schema.migrate(connection)
        connection.close()
        database.chmod(0o600)
        ours = Path(llmatic_daemon.__file__).parent
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ours, self.folder / "package/llmatic_daemon", ignore=ignored)
        number = os.path.basename(self.folder)
        self.shared = Path("/dev/shm") / number
        self.shared.write_text("of another slot")
        self.shared.chmod(0o666)
        self.abstract = number

    def _start(self, name: str) -> subprocess.Popen[bytes]:
        environment = {"LLMATIC_LLM_TOKEN": "decoy"}
        return subprocess.Popen([name, "600"], executable="/bin/sleep", env=environment)

    def _serve_http(self) -> socket.socket:
        contacts = self.contacts

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                contacts.append(f"{self.command} {self.path}")
                self.send_response(200)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            do_POST = do_GET

            def log_message(self, *_: object) -> None:
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = server.server_address[1]
        threading.Thread(target=_until_closed, args=(server.handle_request,), daemon=True).start()
        return server.socket

    def _listen(self) -> Iterator[socket.socket]:
        names = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        names.bind(("127.0.0.1", self.port))

        def answer_name() -> None:
            _, asker = names.recvfrom(512)
            self.contacts.append("a name was looked up")
            names.sendto(b"an address", asker)

        threading.Thread(target=_until_closed, args=(answer_name,), daemon=True).start()
        yield names
        control = self.folder / "state/control.sock"
        for address in ("\0" + self.abstract, str(control)):
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(address)
            listener.listen()

            def greet(listener: socket.socket = listener, name: str = repr(address)) -> None:
                line, _ = listener.accept()
                self.contacts.append(f"{name} was connected to")
                with line:
                    line.sendall(b"hello")

            threading.Thread(target=_until_closed, args=(greet,), daemon=True).start()
            yield listener
        control.chmod(0o600)

    def _state(self) -> dict[str, object]:
        found: dict[str, object] = {"key memory": _SYSTEM_V.read_text() if _SYSTEM_V.exists() else ""}
        for place in (self.shared, *self.folder.rglob("*")):
            if not any(name.startswith("torchinductor_") for name in place.parts):
                found[str(place)] = _description(place)
        with contextlib.suppress(OSError):
            found["attributes"] = os.listxattr(self.folder / "home/.ssh/id_ed25519")
        return found


def _description(place: Path) -> tuple[object, ...]:
    status = place.lstat()
    if not stat.S_ISREG(status.st_mode):
        return status.st_mode, status.st_uid
    content = hashlib.sha256(place.read_bytes()).digest()
    return status.st_mode, status.st_uid, status.st_nlink, status.st_mtime_ns, content


def _until_closed(step: object) -> None:
    with contextlib.suppress(OSError, ValueError):
        while True:
            step()  # type: ignore[operator]


def _is_well(process: subprocess.Popen[bytes]) -> bool:
    if process.poll() is not None:
        return False
    status = Path(f"/proc/{process.pid}/status").read_text()
    return "State:\tT" not in status and "State:\tt" not in status


def descendants(pid: int) -> set[int]:
    """List all processes below one; orphans that it has adopted are among them."""
    parents: dict[int, list[int]] = {}
    for line in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = line.read_text().rpartition(")")[2].split()
            parents.setdefault(int(fields[1]), []).append(int(line.parent.name))
    found, waiting = set[int](), [pid]
    while waiting:
        children = parents.get(waiting.pop(), [])
        found.update(children)
        waiting.extend(children)
    return found


def kill_all(pids: set[int]) -> None:
    """End what a program without its sandbox has left; only ever our own descendants."""
    for pid in pids & descendants(os.getpid()):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
