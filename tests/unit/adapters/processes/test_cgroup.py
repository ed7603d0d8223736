"""The control group: taken only where it was handed over; kills everything in it at one stroke."""

import os
import subprocess
from pathlib import Path

import pytest

from llmatic_daemon.adapters.processes.cgroup import Cgroup, NoCgroup, joining


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """A unit's group as systemd hands it over, in a tree that only looks like the kernel's."""
    folder = tmp_path / "mount" / "system.slice" / "llmatic-daemon.service"
    folder.mkdir(parents=True)
    (tmp_path / "mount" / "cgroup.controllers").write_text("cpu memory pids\n")
    (folder / "cgroup.controllers").write_text("cpu memory pids\n")
    (folder / "cgroup.procs").write_text("41\n42\n")
    (tmp_path / "listing").write_text("0::/system.slice/llmatic-daemon.service\n")
    os.setxattr(folder, "user.delegate", b"1")
    return folder


def found(unit: Path) -> Cgroup:
    mount = unit.parents[1]
    return Cgroup.find(mount, mount.parent / "listing")


def test_group_that_was_handed_over_is_divided(unit):
    found(unit)

    assert (unit / "daemon" / "cgroup.procs").read_text() == "42"  # the last one that was written
    assert (unit / "cgroup.subtree_control").read_text() == "+memory +pids"


def test_group_of_a_lifter_has_limits_of_memory_and_processes(unit):
    prefix = found(unit).prefix("lifter-0", memory_bytes=1 << 30)

    assert (unit / "lifter-0" / "memory.max").read_text() == str(3 << 30)
    assert (unit / "lifter-0" / "memory.swap.max").read_text() == "0"
    assert (unit / "lifter-0" / "pids.max").read_text() == "32"
    assert prefix[-1] == str(unit / "lifter-0" / "cgroup.procs")


def test_daemon_that_has_moved_before_finds_the_group_again(unit):
    found(unit)
    (unit.parents[2] / "listing").write_text("0::/system.slice/llmatic-daemon.service/daemon\n")

    found(unit).prefix("lifter-0", memory_bytes=0)

    assert (unit / "lifter-0").is_dir()


def test_group_that_is_not_ours_is_left_alone(unit):
    os.removexattr(unit, "user.delegate")

    with pytest.raises(NoCgroup, match="Delegate=yes"):
        found(unit)

    assert not (unit / "daemon").exists()


def test_group_without_a_controller_is_told(unit):
    (unit / "cgroup.controllers").write_text("cpu memory\n")

    with pytest.raises(NoCgroup, match="does not control pids"):
        found(unit)


def test_machine_without_the_second_version_is_told(unit):
    (unit.parents[1] / "cgroup.controllers").unlink()

    with pytest.raises(NoCgroup, match="no cgroup v2"):
        found(unit)


def test_everything_in_a_real_group_is_killed_at_one_stroke():
    mounts = Path("/proc/mounts").read_text().splitlines()
    mount = next((Path(line.split()[1]) for line in mounts if line.split()[2] == "cgroup2"), None)
    if mount is None or not os.access(mount, os.W_OK):
        pytest.skip("no cgroup v2 that we may write")
    group = mount / f"llmatic-test-{os.getpid()}"
    group.mkdir()
    try:
        script = "setsid sleep 600 & sleep 600 & echo started; wait"
        command = [*joining(group), "/bin/sh", "-c", script]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"started\n"
            assert len((group / "cgroup.procs").read_text().split()) == 3

            Cgroup(mount).end(group.name)

            assert process.wait(timeout=10) == -9
    finally:
        wait_until_empty(group)
        group.rmdir()


def wait_until_empty(group: Path) -> None:
    """The kernel tells the end of the last one as a change of `populated`."""
    events = os.open(group / "cgroup.events", os.O_RDONLY)
    try:
        while b"populated 1" in os.pread(events, 4096, 0):
            os.sched_yield()
    finally:
        os.close(events)
