"""A throw-away environment around the lifter: what a hostile program would steal, change, kill or talk to."""

import contextlib
import hashlib
import os
import select
import shutil
import signal
import socket
import sqlite3
import stat
import subprocess
import tempfile
import threading
from pathlib import Path

import llmatic_daemon
from llmatic_daemon.adapters.storage import schema

SECRET = "-----BEGIN PRIVATE KEY----- decoy"
_SYSTEM_V = Path("/proc/sysvipc/shm")


class SandboxEnvironment:
    """Folders, processes and sockets that only a program which leaves its sandbox can reach."""

    def __init__(self, tmp: Path) -> None:
        """Make it.

        Args:
            tmp: Where the lifter keeps its temporary files when it has no private view.
        """
        self._tmp = tmp
        self.folder = Path(tempfile.mkdtemp(prefix="hostile-environment-"))
        self.folder.chmod(0o755)  # another user may enter: only modes and layers keep it out
        self._fill()
        self.contacts: list[str] = []
        self._listeners = self._listen()
        self._end, self._stop = socket.socketpair()
        self._server = threading.Thread(target=self._serve, daemon=True)
        self._server.start()
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
        self._stop.close()
        self._server.join()
        for listener in (*self._listeners, self._end):
            listener.close()
        for process in (self.daemon, self.bystander):
            process.kill()
            process.wait()
        self.shared.unlink(missing_ok=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _fill(self) -> None:
        for name, mode in (("home", 0o755), ("home/.ssh", 0o755), ("state", 0o755), ("writable", 0o777)):
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

    def _listen(self) -> dict[socket.socket, bytes]:
        """Open all that answers; each socket with what it says to whoever reaches it."""
        web = socket.create_server(("127.0.0.1", 0))
        self.port = web.getsockname()[1]
        names = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        names.bind(("127.0.0.1", self.port))
        hidden, control = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)
        hidden.bind("\0" + self.abstract)
        place = self.folder / "state/control.sock"
        control.bind(str(place))
        place.chmod(0o600)
        for listener in (hidden, control):
            listener.listen()
        page = b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}"
        return {web: page, names: b"an address", hidden: b"hello", control: b"hello"}

    def _serve(self) -> None:
        while True:
            ready, _, _ = select.select([*self._listeners, self._end], [], [])
            if self._end in ready:
                return
            for listener in ready:
                self.contacts.append(f"{listener.getsockname()!r} was reached")
                self._answer(listener, self._listeners[listener])

    def _answer(self, listener: socket.socket, answer: bytes) -> None:
        with contextlib.suppress(OSError):
            if listener.type == socket.SOCK_DGRAM:
                listener.sendto(answer, listener.recvfrom(512)[1])
                return
            line, _ = listener.accept()
            with line:
                if listener.family == socket.AF_INET:
                    line.settimeout(1)
                    line.recv(4096)
                line.sendall(answer)

    def _state(self) -> dict[str, object]:
        found: dict[str, object] = {"key memory": _SYSTEM_V.read_text() if _SYSTEM_V.exists() else ""}
        for place in (self.shared, *self.folder.rglob("*"), *self._tmp.rglob("*")):
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
