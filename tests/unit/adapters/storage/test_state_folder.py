"""The state folder and its lock."""

import json
import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from llmatic_daemon.adapters.storage.state_folder import StateFolder, holder
from llmatic_daemon.domain.errors import ConfigurationError, StateLocked


def test_state_folder_is_made_for_owner_and_group(tmp_path: Path):
    folder = tmp_path / "deep" / "state"

    StateFolder.claim(folder).release()

    assert stat.S_IMODE(folder.stat().st_mode) & ~0o750 == 0


def test_state_folder_refuses_a_second_and_names_the_first(tmp_path: Path):
    first = StateFolder.claim(tmp_path)

    with pytest.raises(StateLocked) as refused:
        StateFolder.claim(tmp_path)

    assert f"process {os.getpid()} on {socket.gethostname()}, started 2" in str(refused.value)
    assert refused.value.exit_code == 75
    first.release()


def test_state_folder_is_free_again_after_release(tmp_path: Path):
    first = StateFolder.claim(tmp_path)
    first.release()
    first.release()

    StateFolder.claim(tmp_path).release()

    assert holder(tmp_path) is None


def test_holder_is_the_one_that_has_the_folder(tmp_path: Path):
    assert holder(tmp_path / "missing") is None
    claimed = StateFolder.claim(tmp_path)

    found = holder(tmp_path)

    assert found
    assert found.pid == os.getpid()
    claimed.release()


def test_holder_of_a_killed_daemon_is_nobody(tmp_path: Path):
    """Its signature is still in the file; the lock is what counts."""
    (tmp_path / "lock").write_text(json.dumps({"pid": 1, "host": "h", "started": "2026"}))

    assert holder(tmp_path) is None
    StateFolder.claim(tmp_path).release()


def test_lock_of_another_process_is_seen(tmp_path: Path):
    code = (
        "import sys; from pathlib import Path\n"
        "from llmatic_daemon.adapters.storage.state_folder import StateFolder\n"
        "folder = StateFolder.claim(Path(sys.argv[1])); print('mine', flush=True); input()\n"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert other.stdout
    assert other.stdout.readline() == b"mine\n"

    with pytest.raises(StateLocked, match=rf"process {other.pid} on "):
        StateFolder.claim(tmp_path)

    other.kill()
    other.communicate()
    StateFolder.claim(tmp_path).release()


def test_state_folder_that_is_a_file_is_a_configuration_error(tmp_path: Path):
    (tmp_path / "file").touch()

    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(ConfigurationError, match="must be a folder that we can write"):
            StateFolder.claim(folder)


def test_state_folder_that_cannot_be_written_is_a_configuration_error():
    """Root may write anywhere but into the kernel's own folders."""
    with pytest.raises(ConfigurationError, match="change its owner or mode, make room"):
        StateFolder.claim(Path("/proc/self/llmatic"))
