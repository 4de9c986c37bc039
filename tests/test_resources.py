"""A worker's size: what the machine has, what control groups leave of it, and what is set."""

from __future__ import annotations

import json
import os
import re
import resource
import sys
import types
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from hugesync_tasks.config import Settings, load
from hugesync_tasks.errors import UsageError
from hugesync_worker import cgroups, lifecycle
from hugesync_worker.cgroups import Limit, Limits
from hugesync_worker.disks import spindles
from hugesync_worker.resources import Machine, plan
from processes import Place, wait_until
from servers import ValkeyServer

GIB, MIB = 1 << 30, 1 << 20
V2 = "32 24 0:27 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
POD = "/kubepods.slice/kubepods-burstable.slice/kubepods-pod1.slice/cri-containerd-9.scope"


def recorded(root: Path, cgroup: str, mountinfo: str, **files: str) -> Path:
    """A tree as ``cgroups.read`` finds it; ``__`` in a name stands for a slash below ``sys/fs/cgroup``."""
    proc = root / "proc/self"
    proc.mkdir(parents=True)
    (proc / "cgroup").write_text(cgroup)
    (proc / "mountinfo").write_text(mountinfo)
    for name, text in files.items():
        path = root / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_the_limits_of_a_pod_are_found_at_whatever_level_they_are_set(tmp_path: Path) -> None:
    slices = POD.strip("/").split("/")
    pod, container = "/".join(slices[:3]), "/".join(slices)
    files = {
        f"{container}/cpu.max": "max 100000\n",
        f"{pod}/cpu.max": "150000 100000\n",
        f"{container}/memory.max": "4294967296\n",
        f"{container}/memory.high": "max\n",
        f"{pod}/memory.max": "max\n",
        f"{slices[0]}/memory.max": "2147483648\n",
        f"{container}/cpuset.cpus.effective": "0-3,8\n",
        f"{container}/pids.max": "512\n",
    }
    root = recorded(tmp_path, f"0::{POD}\n", V2, **files)
    found = cgroups.read(root)
    assert found.quota == Limit(1.5, f"/sys/fs/cgroup/{pod}")
    assert found.memory == Limit(2 * GIB, f"/sys/fs/cgroup/{slices[0]}"), "the tightest is an ancestor's"
    assert found.cpuset == Limit(5, f"/sys/fs/cgroup/{container}")
    assert found.pids == Limit(512, f"/sys/fs/cgroup/{container}")


def test_memory_high_is_a_limit(tmp_path: Path) -> None:
    root = recorded(tmp_path, "0::/a\n", V2, **{"a/memory.max": "4294967296", "a/memory.high": "1073741824"})
    assert cgroups.read(root).memory == Limit(GIB, "/sys/fs/cgroup/a")


@pytest.mark.parametrize("path", ["/", "/../../system.slice/docker-1.scope"])
def test_in_a_container_the_top_of_the_mount_is_its_own_group(path: str, tmp_path: Path) -> None:
    root = recorded(tmp_path, f"0::{path}\n", V2, **{"cpu.max": "50000 100000\n", "memory.max": "536870912\n"})
    assert cgroups.read(root) == Limits(quota=Limit(0.5, "/sys/fs/cgroup"), memory=Limit(512 * MIB, "/sys/fs/cgroup"))


def test_version_1_has_a_hierarchy_for_each_controller(tmp_path: Path) -> None:
    """Docker on a host of version 1: the path in ``/proc/self/cgroup`` is the host's, what is mounted is the container's."""
    cgroup = "9:memory:/docker/abc\n4:cpu,cpuacct:/docker/abc\n3:cpuset:/docker/abc\n2:pids:/docker/abc\n1:name=systemd:/docker/abc\n"
    mounts = "".join(
        f"4{i} 40 0:3{i} /docker/abc /sys/fs/cgroup/{name} ro - cgroup cgroup rw,{names}\n"
        for i, (name, names) in enumerate(
            [("memory", "memory"), ("cpu,cpuacct", "cpu,cpuacct"), ("cpuset", "cpuset"), ("pids", "pids")]
        )
    )
    files = {
        "memory/memory.limit_in_bytes": "1073741824\n",
        "cpu,cpuacct/cpu.cfs_quota_us": "250000\n",
        "cpu,cpuacct/cpu.cfs_period_us": "100000\n",
        "cpuset/cpuset.cpus": "2-3\n",
        "pids/pids.max": "max\n",
    }
    assert cgroups.read(recorded(tmp_path, cgroup, mounts, **files)) == Limits(
        quota=Limit(2.5, "/sys/fs/cgroup/cpu,cpuacct"),
        cpuset=Limit(2, "/sys/fs/cgroup/cpuset"),
        memory=Limit(GIB, "/sys/fs/cgroup/memory"),
    )


def test_an_ancestors_limit_holds_in_version_1_too_and_no_limit_is_none(tmp_path: Path) -> None:
    cgroup, mounts = (
        "4:memory:/a/b\n1:cpu:/a/b\n",
        (
            "33 31 0:31 / /sys/fs/cgroup/mem\\040ory rw - cgroup cgroup rw,memory\n"
            "34 31 0:32 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n"
        ),
    )
    files = {
        "mem ory/a/b/memory.limit_in_bytes": "9223372036854771712\n",
        "mem ory/a/memory.limit_in_bytes": "805306368\n",
        "cpu/a/b/cpu.cfs_quota_us": "-1\n",
        "cpu/a/b/cpu.cfs_period_us": "100000\n",
    }
    assert cgroups.read(recorded(tmp_path, cgroup, mounts, **files)) == Limits(
        memory=Limit(768 * MIB, "/sys/fs/cgroup/mem ory/a")
    )


def test_where_both_versions_are_mounted_each_tells_what_it_has(tmp_path: Path) -> None:
    cgroup = "2:memory:/x\n0::/x\n"
    mounts = V2.replace("/sys/fs/cgroup rw", "/sys/fs/cgroup/unified rw") + (
        "33 31 0:31 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
    )
    files = {"memory/x/memory.limit_in_bytes": "1073741824\n", "unified/x/cpu.max": "300000 100000\n"}
    assert cgroups.read(recorded(tmp_path, cgroup, mounts, **files)) == Limits(
        quota=Limit(3, "/sys/fs/cgroup/unified/x"), memory=Limit(GIB, "/sys/fs/cgroup/memory/x")
    )


def test_where_there_are_no_groups_nothing_is_limited(tmp_path: Path) -> None:
    assert cgroups.read(tmp_path) == Limits()


def settings(**given: object) -> Settings:
    return Settings(**given)  # type: ignore[arg-type]


HOST = Machine(cpus=8, memory=64 * GIB, available=60 * GIB, open_files=1 << 20)


def quota(cpus: float) -> Limits:
    return Limits(quota=Limit(cpus, "/sys/fs/cgroup/x"))


def sized(machine: Machine = HOST, **given: object) -> tuple[int, int]:
    size = plan(settings(**given), machine)
    return size.slots, size.memory >> 20


@pytest.mark.parametrize(
    ("machine", "children", "why"),
    [
        ({}, 8, "one for each of 8 CPUs"),
        ({"limits": quota(2.5)}, 3, "/sys/fs/cgroup/x gives the time of 2.5 CPUs"),
        ({"limits": quota(0.2)}, 1, "gives the time of 0.2 CPUs"),
        ({"limits": Limits(cpuset=Limit(4, "/c"))}, 4, "/c gives 4 CPUs"),
        ({"limits": Limits(pids=Limit(200, "/p"))}, 3, "/p allows 200 threads"),
        ({"open_files": 80}, 2, "a process may have 80 open files"),
        ({"cpus": 64, "link": 125_000_000, "link_name": "eth0"}, 12, "eth0 carries 1000 Mbit/s"),
        ({"cpus": 64, "link": 12_500_000, "link_name": "eth0"}, 4, "eth0 carries 100 Mbit/s"),
        ({"cpus": 64, "link": 0}, 64, "one for each of 64 CPUs"),
        ({"cpus": 64, "spindles": 2}, 16, "the roots lie on 2 rotating disk(s)"),
    ],
)
def test_the_tightest_bound_gives_the_number_of_children_and_is_named(
    machine: dict[str, object], children: int, why: str
) -> None:
    size = plan(settings(), Machine(**{**{f: getattr(HOST, f) for f in HOST.__slots__}, **machine}))  # type: ignore[arg-type]
    assert size.slots == children
    assert why in size.lines[0]
    assert size.lines[0].startswith(f"children: {children} (")


def limited(memory: int, cpus: int = 8, available: int = 60 * GIB) -> Machine:
    return Machine(cpus, 64 * GIB, available, 1 << 20, limits=Limits(memory=Limit(memory, "/sys/fs/cgroup/m")))


@pytest.mark.parametrize(
    ("machine", "given", "children", "mib"),
    [
        (limited(8 * GIB), {}, 8, 512),
        (limited(4 * GIB), {}, 8, 440),  # less memory each, before there are fewer
        (limited(2 * GIB), {}, 6, 280),
        (limited(GIB // 2), {}, 1, 300),
        (limited(GIB // 8), {}, 1, 128),
        (limited(64 * GIB, available=2 * GIB), {}, 6, 280),
        (limited(4 * GIB), {"memory": "1GiB"}, 3, 1024),
        (limited(4 * GIB), {"worker_concurrency": 4}, 4, 512),
        (limited(2 * GIB), {"worker_concurrency": 4}, 4, 420),
        (limited(2 * GIB), {"worker_concurrency": 4, "memory": "1GiB"}, 4, 1024),
    ],
)
def test_the_memory_there_is_bounds_children_and_what_each_may_have(
    machine: Machine, given: dict[str, object], children: int, mib: int
) -> None:
    size = plan(settings(**given), machine)
    assert (size.slots, size.memory >> 20) == (children, mib)
    over = children * (mib << 20) > size.usable
    assert bool(size.warnings) == over, "what is set wins, and where it is too much that is said"
    assert any("/sys/fs/cgroup/m" in line or "are free" in line for line in (*size.lines, *size.warnings)) or (
        mib >= 512
    )


def test_the_buffers_are_half_of_the_memory_at_most_and_no_more_than_the_children_may_have() -> None:
    assert plan(settings(), limited(4 * GIB)).buffers == 2 * GIB
    assert plan(settings(buffers_budget="64MiB"), HOST).buffers == 64 * MIB
    assert plan(settings(worker_concurrency=2), HOST).buffers == GIB


def test_autoscaling_stays_between_its_bounds_and_within_the_memory() -> None:
    size = plan(settings(autoscale_min=2, autoscale_max=32, memory="512MiB"), limited(8 * GIB))
    assert (size.slots, size.most) == (8, 14)
    assert any("autoscale: 2 to 14 (/sys/fs/cgroup/m allows 8.0 GiB" in line for line in size.lines)
    assert plan(settings(autoscale_max=4), HOST).slots == 4
    assert plan(settings(autoscale_min=16, autoscale_max=20), HOST).slots == 16
    assert plan(settings(), HOST).most == 8, "off unless it is asked for"
    with pytest.raises(UsageError, match="autoscale_min is 5 and autoscale_max 4"):
        plan(settings(autoscale_min=5, autoscale_max=4), HOST)


def test_few_open_files_are_told() -> None:
    machine = Machine(1, 64 * GIB, 60 * GIB, open_files=128)
    size = plan(settings(), machine)
    assert size.open_files == 128
    assert "raise ulimit -n" in size.warnings[0]
    assert plan(settings(), HOST).open_files == 65_536


def test_roots_are_on_rotating_disks_only_where_every_one_is(tmp_path: Path) -> None:
    device = os.stat(tmp_path).st_dev
    disk = tmp_path / "sys/devices/ata1/block/sda"
    (disk / "sda1").mkdir(parents=True)
    (disk / "sda1/partition").write_text("1\n")
    (disk / "queue").mkdir()
    (disk / "queue/rotational").write_text("1\n")
    link = tmp_path / f"sys/dev/block/{os.major(device)}:{os.minor(device)}"
    link.parent.mkdir(parents=True)
    link.symlink_to(disk / "sda1")
    assert spindles([str(tmp_path), str(tmp_path / "sys")], tmp_path) == 1
    assert spindles([str(tmp_path), "/proc"], tmp_path) == 0, "a root that is on no disk"
    assert spindles([], tmp_path) == 0
    (disk / "queue/rotational").write_text("0\n")
    assert spindles([str(tmp_path)], tmp_path) == 0
    (disk / "queue/rotational").write_text("1\n")
    virtual = disk.rename(disk.parent / "vda")
    link.unlink()
    link.symlink_to(virtual / "sda1")
    assert spindles([str(tmp_path)], tmp_path) == 0, "a virtual disk says that it rotates whatever it is"


def nic(speed: int, up: bool = True) -> types.SimpleNamespace:
    return types.SimpleNamespace(isup=up, speed=speed)  # Mbit/s, as psutil has it


@pytest.mark.parametrize(
    ("cards", "name", "mbit"),
    [
        ({"lo": nic(0), "eth0": nic(1000), "eth1": nic(10_000), "eth2": nic(25_000, up=False)}, "eth1", 10_000),
        (
            {"lo": nic(0), "eth0": nic(1000), "wlan0": nic(0)},
            "",
            0,
        ),  # the one that is used may be the one that tells none
        ({"lo": nic(0)}, "", 0),
    ],
)
def test_the_machine_is_read_with_the_fastest_interface_that_is_up_and_its_own_cpus_memory_and_files(
    cards: dict[str, object], name: str, mbit: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(psutil, "net_if_stats", lambda: cards)
    files = {"a/memory.max": "1073741824\n"}
    machine = Machine.read(settings(), recorded(tmp_path, "0::/a\n", V2, **files))
    assert (machine.link_name, machine.link) == (name, mbit * 10**6 // 8)
    assert machine.cpus == len(os.sched_getaffinity(0))
    assert machine.memory == psutil.virtual_memory().total
    assert 0 < machine.available <= machine.memory
    assert machine.open_files >= resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 0
    assert machine.limits.memory == Limit(GIB, "/sys/fs/cgroup/a")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "place")


def test_a_worker_prints_its_plan_and_its_children_may_open_as_many_files(place: Place, broker: ValkeyServer) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    low = f"import resource, runpy; resource.setrlimit(resource.RLIMIT_NOFILE, (200, {hard}))"
    code = f"{low}; runpy.run_module('hugesync_worker', run_name='__main__', alter_sys=True)"
    worker = place.start([sys.executable, "-c", code, "--broker", broker.url, "-c", "1", "--log-format", "json"])
    try:
        (child,) = wait_until(lambda: worker.children(), what="its child")
        said = [json.loads(line)["event"] for line in worker.said().splitlines()]
        assert "children: 1 (as it is set)" in said
        (files,) = [int(m[1]) for line in said if (m := re.match(r"open files: (\d+) a process", line))]
        assert psutil.Process(child.pid).rlimit(psutil.RLIMIT_NOFILE)[0] == files >= min(hard, 65_536)
    finally:
        place.end()


def test_children_of_the_pool_are_held_to_the_memory_that_was_planned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUGESYNC_MEMORY", "")
    monkeypatch.setattr(Machine, "read", lambda settings: limited(4 * GIB))
    monkeypatch.setattr(lifecycle, "raise_open_files", lambda size: None)
    lifecycle._sized(settings(), embedded=False)
    assert load({}).memory == 440 * MIB


@pytest.mark.parametrize(("embedded", "children"), [(False, 4), (True, 16)])
def test_no_link_bounds_a_worker_of_one_job_alone(
    embedded: bool, children: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may hash, or copy between folders."""
    monkeypatch.setenv("HUGESYNC_MEMORY", "")
    machine = replace(limited(64 * GIB, cpus=16), link=12_500_000, link_name="eth0")
    monkeypatch.setattr(Machine, "read", lambda settings: machine)
    monkeypatch.setattr(lifecycle, "raise_open_files", lambda size: None)
    assert lifecycle._sized(settings(), embedded).slots == children
