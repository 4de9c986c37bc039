"""What follows from measurements: the knee, what is recommended and why, how long it takes, and what blocks a job."""

from __future__ import annotations

import math
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hugesync_producer.preflight import ladder
from hugesync_producer.preflight.allowance import Allowance
from hugesync_producer.preflight.blockers import blockers
from hugesync_producer.preflight.cgroup import cgroup_limits
from hugesync_producer.preflight.disks import _rotational, disk_of, space_of
from hugesync_producer.preflight.estimate import WIDEST, estimate
from hugesync_producer.preflight.host import host_facts
from hugesync_producer.preflight.knee import knee, open_ended, rate_at
from hugesync_producer.preflight.recommend import Advice, recommend
from hugesync_producer.preflight.report import applied
from hugesync_producer.preflight.values import (
    EDGES,
    GIB,
    KIB,
    MIB,
    End,
    Histogram,
    Host,
    Listing,
    Measurements,
    Rung,
    Space,
    histogram,
)
from hugesync_tasks.budget import HEADROOM, LEAST
from hugesync_tasks.config import Settings
from hugesync_tasks.errors import Throttled
from hugesync_tasks.spec import Options


def host(**more: object) -> Host:
    facts = Host(4, None, 16 * GIB, 12 * GIB, None, 1024, start_seconds=0.8)
    return replace(facts, **more)  # type: ignore[arg-type]


def rungs(chunk: int, rates: dict[int, float]) -> tuple[Rung, ...]:
    """A ladder of ``chunk`` bytes each, by streams -> bytes (or of 0 bytes: operations) per second."""
    found = []
    for streams, rate in rates.items():
        one = streams * (chunk or 1) / rate
        found.append(Rung(streams, 10 * streams, 10 * streams * chunk, 10 * one, one, one, 10 * streams * one))
    return tuple(found)


def store(latency: float, rates: dict[int, float], place: str = "s3://b/") -> End:
    small = rungs(0, {1: 1 / latency, 16: 16 / latency})
    write = rungs(8 * MIB, rates)
    request = Rung(1, 10, 0, 10 * latency, latency, latency, 10 * latency)
    return End(place, "s3", True, request=request, small=small, write=write, read=write, listing=Listing(0, 0.05, True))


def folder(rate: float = 500 * MIB, listing: Listing | None = None) -> End:
    small, chunks = rungs(0, {1: 5000.0, 16: 8000.0}), rungs(8 * MIB, {1: rate, 2: rate})
    return End(
        "/src",
        "local",
        False,
        1,
        1 << 31,
        small=small,
        read=chunks,
        write=chunks,
        listing=listing or Listing(9, 0.01, True),
    )


def sizes(*files: tuple[int, int], complete: bool = True) -> Histogram:
    """(how many, bytes of each)."""
    counted = []
    for n, size in files:
        index = next((i for i, edge in enumerate(EDGES) if size <= edge), len(EDGES))
        counted.append((index, n, n * size))
    return histogram(counted, complete, max((size for _, size in files), default=0))


def measured(dest: End, *files: tuple[int, int], source: End | None = None, **more: object) -> Measurements:
    found = Measurements(host(), source or folder(), dest, sizes(*files))
    return replace(found, **more)  # type: ignore[arg-type]


def by_key(advice: tuple[Advice, ...]) -> dict[str, Advice]:
    return {a.key: a for a in advice}


# --- ladders ------------------------------------------------------------------------------------------------------------


def test_the_knee_is_the_fewest_streams_that_come_near_the_best() -> None:
    steps = rungs(MIB, {1: 10.0, 2: 19.0, 4: 20.0})
    found = knee(steps, lambda r: r.rate)
    assert found is not None
    assert found.streams == 2
    assert knee((), lambda r: r.rate) is None


def test_beyond_the_last_rung_a_flat_ladder_gives_no_more_and_a_steep_one_half_of_what_it_promises() -> None:
    flat, steep = rungs(MIB, {1: 10.0, 2: 10.5}), rungs(MIB, {1: 10.0, 2: 20.0})
    assert rate_at(flat, 8, lambda r: r.rate) == pytest.approx(10.5)
    assert not open_ended(flat, lambda r: r.rate)
    assert rate_at(steep, 4, lambda r: r.rate) == pytest.approx(30.0)
    assert rate_at(steep, 1.5, lambda r: r.rate) == pytest.approx(15.0)


def test_a_ladder_ends_at_the_first_rung_that_gives_nothing_more(monkeypatch: pytest.MonkeyPatch) -> None:
    def two_at_once(operation: object, streams: int, *_: object) -> Rung:
        (rung,) = rungs(100, {streams: 1000.0 * min(streams, 2)})
        return rung

    monkeypatch.setattr(ladder, "drive", two_at_once)
    climbed = ladder.climb(lambda: 100, 0.1, Allowance(20.0, MIB), 100, lambda r: r.rate)
    assert [r.streams for r in climbed] == [1, 2, 4]
    found = knee(climbed, lambda r: r.rate)
    assert found is not None
    assert found.streams == 2


def test_a_rung_keeps_all_its_streams_at_work() -> None:
    together = threading.Barrier(4)
    rung = ladder.drive(lambda: together.wait(30) * 0 + 7, 4, 0.0, Allowance(60.0, MIB), 7)
    assert rung is not None
    assert (rung.streams, rung.operations, rung.bytes) == (4, 4, 28)
    assert 0 < rung.p50 <= rung.p99
    assert rung.rate == pytest.approx(4 * 28 / rung.busy)


def test_too_many_streams_end_the_ladder_and_an_error_of_the_first_is_raised() -> None:
    def operation() -> int:
        if threading.current_thread() is not threading.main_thread():
            raise Throttled("slow down")
        return 10

    assert [r.streams for r in ladder.climb(operation, 0.0, Allowance(60.0, MIB), 10, lambda r: r.rate)] == [1]
    with pytest.raises(Throttled):
        ladder.climb(_throttled, 0.0, Allowance(60.0, MIB), 10, lambda r: r.rate)


def _throttled() -> int:
    raise Throttled("slow down")


def test_measuring_keeps_to_its_bytes_and_ends_at_the_first_error() -> None:
    allowance = Allowance(20.0, 1000)
    rung = ladder.drive(lambda: 300, 1, 0.5, allowance, 300)
    assert rung is not None
    assert (rung.operations, allowance.moved) == (3, 900)
    assert ladder.drive(lambda: 300, 2, 0.5, allowance, 300) is None
    asked = []

    def fails() -> int:
        asked.append(1)
        raise OSError("no")

    with pytest.raises(OSError, match="no"):
        ladder.drive(fails, 8, 5.0, Allowance(20.0, 1000), 1)
    assert len(asked) <= 8


def test_a_portion_counts_in_the_whole() -> None:
    whole = Allowance(10.0, 1000)
    part = whole.portion(0.5, 0.5)
    assert part.take(400)
    assert not part.take(200)
    assert (whole.moved, whole.bytes_left) == (400, 600)


# --- recommendations ------------------------------------------------------------------------------------------------------

SATURATED = {1: 40.0 * MIB, 2: 80.0 * MIB, 4: 100.0 * MIB, 8: 101.0 * MIB}


def test_jobs_follow_the_knee_of_the_slower_end_and_name_it() -> None:
    advice = by_key(recommend(measured(store(0.02, SATURATED), (10, GIB))))
    assert advice["jobs"].value in (4, 5)  # each slot reads for a moment before it writes
    assert advice["jobs"].limited_by == "bandwidth of s3://b/"
    assert advice["jobs"].figure == pytest.approx(100 * MIB, rel=0.1)


def test_jobs_are_bounded_by_memory_and_cpus_and_say_so() -> None:
    many = {1: 10.0 * MIB, 2: 20.0 * MIB, 4: 40.0 * MIB, 8: 80.0 * MIB}
    m = measured(store(0.02, many), (10, GIB))
    poor = by_key(recommend(replace(m, host=host(memory_available=GIB))))["jobs"]
    assert (poor.value, poor.limited_by, poor.figure) == (3, "memory", float(GIB))
    small = by_key(recommend(replace(m, host=host(cpu_quota=0.5))))["jobs"]
    assert (small.value, small.limited_by, small.figure) == (2, "CPUs", 0.5)


def test_parts_grow_with_latency_and_speed_and_fit_into_memory() -> None:
    def part(latency: float, available: int = 12 * GIB) -> Advice:
        m = measured(store(latency, {1: 50.0 * MIB, 2: 50.0 * MIB}), (10, GIB))
        return by_key(recommend(replace(m, host=host(memory_available=available))))["part_size"]

    assert part(0.001).value == Options().part_size
    assert part(0.001).limited_by.startswith("nothing")
    far = part(0.06)
    assert 20 * MIB <= far.value <= 48 * MIB
    assert far.limited_by == "latency of a request"
    assert (part(0.5).value, part(0.5).limited_by) == (64 * MIB, "what is worth sending again")
    assert part(0.5, available=GIB // 2).limited_by == "memory"
    slow = by_key(recommend(measured(store(0.02, {1: 0.3 * MIB, 2: 0.3 * MIB}), (10, GIB))))["part_size"]
    assert slow.value == 9 * MIB or slow.value == 8 * MIB
    assert "30 s" in slow.limited_by or "worth a request" in slow.limited_by


@given(
    latency=st.floats(0.0005, 2.0), rate=st.floats(1e4, 5e9), second=st.floats(0.5, 2.0), memory=st.integers(GIB // 2, 64 * GIB),
    cpus=st.integers(1, 64), count=st.integers(0, 10**7), size=st.integers(0, 200 * GIB), quota=st.none() | st.floats(0.1, 64),
)  # fmt: skip
def test_whatever_was_measured_what_is_recommended_can_be_run(
    latency: float, rate: float, second: float, memory: int, cpus: int, count: int, size: int, quota: float | None
) -> None:
    m = measured(store(latency, {1: rate, 2: rate * second}), (count, size))
    m = replace(m, host=host(memory_available=memory, cpus=cpus, cpu_quota=quota))
    advice = {a.key: a.value for a in recommend(m)}
    assert all(a.limited_by and a.measured for a in recommend(m))
    assert 1 <= advice["jobs"] <= 64
    assert m.dest.min_part <= advice["part_size"]
    assert advice["part_size"] % MIB == 0
    assert advice["part_size"] * m.dest.max_parts >= m.sizes.largest
    assert 4 * advice["part_size"] <= advice["memory"]
    assert max(LEAST, advice["part_size"]) <= advice["buffers_budget"] <= max(LEAST, memory)
    assert 1 <= advice["batch_files"] <= 512
    assert MIB <= advice["batch_bytes"] <= 64 * MIB
    foretold = estimate(m, Options())
    assert 0 < foretold.best <= foretold.likely <= foretold.worst <= WIDEST * foretold.best * (1 + 1e-9)


def test_small_files_are_shared_by_all_workers_and_cut_by_time() -> None:
    few = by_key(recommend(measured(store(0.02, SATURATED), (400, 4 * KIB))))
    assert few["batch_files"].value == math.ceil(400 / (2 * few["jobs"].value))
    assert "share 400 files" in few["batch_files"].limited_by
    slow = by_key(recommend(measured(store(1.0, SATURATED), (10**6, 4 * KIB))))["batch_files"]
    assert (slow.value, slow.limited_by) == (80, "5 s of work in one task")


def test_buffers_are_what_memory_leaves_to_all_processes_or_what_there_is() -> None:
    m = measured(store(0.06, {1: 50.0 * MIB, 2: 100.0 * MIB, 4: 100.0 * MIB}), (10, GIB))
    advice = by_key(recommend(m))
    rich = advice["buffers_budget"]
    assert rich.value == advice["jobs"].value * int((advice["memory"].value - 128 * MIB) * HEADROOM) // MIB * MIB
    assert rich.limited_by == f"what --memory leaves to each of {advice['jobs'].value} processes"
    poor = by_key(recommend(replace(m, host=host(memory_available=400 * MIB))))["buffers_budget"]
    assert (poor.limited_by, poor.figure) == ("memory", 400.0 * MIB)
    _, settings, _ = applied([rich], Options(), Settings())
    assert settings.buffers_budget == rich.value
    assert applied([rich], Options(), Settings(buffers_budget=64 * MIB))[1].buffers_budget == 64 * MIB


def test_a_fleet_is_not_told_what_is_each_workers_own() -> None:
    m = measured(store(0.02, SATURATED), (10, GIB), single_host=False)
    assert {a.key for a in recommend(m)} == {"part_size", "batch_files", "batch_bytes"}


def test_what_a_person_has_set_is_not_changed() -> None:
    advice = recommend(measured(store(0.06, {1: 50.0 * MIB, 2: 50.0 * MIB}), (10, GIB)))
    options, settings, taken = applied(advice, Options(), Settings())
    assert {a.key for a in taken} == {"jobs", "part_size", "batch_files", "batch_bytes", "memory", "buffers_budget"}
    assert (options.jobs, options.part_size) == (settings.jobs, settings.part_size) == (taken[0].value, taken[1].value)
    mine = Settings(jobs=3, part_size=MIB * 9)
    options, settings, taken = applied(advice, Options(jobs=3, part_size=MIB * 9), mine)
    assert {a.key for a in taken} == {"batch_files", "batch_bytes", "memory", "buffers_budget"}
    assert (options.jobs, settings.jobs, options.part_size) == (3, 3, 9 * MIB)
    options, settings, taken = applied(advice, Options(memory=128 * MIB), Settings(memory=128 * MIB))
    assert options.part_size * 4 <= options.memory == settings.memory == 128 * MIB


# --- estimates --------------------------------------------------------------------------------------------------------------


def test_the_limiting_resource_is_named() -> None:
    slow = {1: 2.0 * MIB, 2: 2.0 * MIB}
    assert estimate(measured(store(0.01, slow), (4, GIB)), Options()).limited_by == "bandwidth of s3://b/"
    assert estimate(measured(store(0.2, SATURATED), (10**5, KIB)), Options()).limited_by == "requests at s3://b/"
    assert estimate(measured(store(0.01, SATURATED), (1, KIB)), Options()).limited_by == "starting the job"
    disk = folder(MIB)
    assert estimate(measured(store(0.01, SATURATED), (4, GIB), source=disk), Options()).limited_by == "disk of /src"
    long = folder(listing=Listing(10**6, 500.0, True))
    assert estimate(measured(store(0.01, SATURATED), (10, KIB), source=long), Options()).limited_by == "listing /src"
    fast = store(0.0005, SATURATED)
    assert estimate(measured(fast, (10**6, KIB)), Options(), slots=1).limited_by == "CPU of this machine"


def test_what_a_store_copies_by_itself_costs_requests_and_no_bandwidth() -> None:
    slow = {1: 1.0 * MIB, 2: 1.0 * MIB}
    m = measured(store(0.1, slow), (2000, MIB), source=store(0.1, slow, "s3://a/"))
    through = estimate(m, Options(), slots=2)
    inside = estimate(replace(m, server_copy=True), Options(), slots=2)
    assert through.limited_by.startswith("bandwidth of")
    assert inside.limited_by == "requests at s3://b/"
    assert inside.worst < through.best


def test_bytes_files_and_latency_cost_time_in_proportion() -> None:
    def likely(latency: float = 0.01, rate: float = 10.0 * MIB, *files: tuple[int, int]) -> float:
        return estimate(measured(store(latency, {1: rate, 2: rate}), *files), Options(), slots=2).likely

    base = likely(0.01, 10.0 * MIB, (1, KIB))
    assert likely(0.01, 10.0 * MIB, (10, GIB)) - base == pytest.approx(1024, rel=0.15)
    assert likely(0.01, 5.0 * MIB, (10, GIB)) - base == pytest.approx(2048, rel=0.15)
    few, many = likely(0.1, 1000.0 * MIB, (10_000, KIB)), likely(0.1, 1000.0 * MIB, (20_000, KIB))
    assert many - base > 1.8 * (few - base)


def test_a_sample_is_called_one() -> None:
    m = measured(store(0.01, SATURATED))
    assert estimate(replace(m, sizes=sizes((10, KIB), complete=False)), Options()).sample
    assert not estimate(replace(m, sizes=sizes((10, KIB))), Options()).sample


def test_where_operations_were_unsteady_the_band_is_wider_but_never_beyond_three() -> None:
    steady = measured(store(0.01, {1: 10.0 * MIB, 2: 10.0 * MIB}), (10, GIB))
    shaky_end = replace(steady.dest, write=tuple(replace(r, p99=r.p50 * 9) for r in steady.dest.write))
    a, b = estimate(steady, Options()), estimate(replace(steady, dest=shaky_end), Options())
    assert a.worst / a.best < b.worst / b.best <= WIDEST * (1 + 1e-9)


# --- blockers -----------------------------------------------------------------------------------------------------------------


def test_too_little_space_blocks_unless_it_is_there_already() -> None:
    dest = replace(folder(), place="/dst", space=Space(100 * MIB, GIB, 5))
    m = measured(dest, (3, 50 * MIB))
    assert blockers(m) == ("no space: /dst has 100.0 MiB free and the source needs 150.0 MiB",)
    assert blockers(m, already=60 * MIB) == ()
    assert blockers(m, there_complete=False) == ()
    many = blockers(measured(dest, (7, 1)))
    assert many == ("no inodes: /dst has 5 free and the source needs 7",)
    assert blockers(measured(replace(dest, space=Space(GIB, GIB, None)), (7, 1))) == ()
    assert blockers(measured(replace(dest, blockers=("writing: permission denied",)), (1, 1))) == (
        "writing: permission denied",
    )


# --- the machine ----------------------------------------------------------------------------------------------------------------


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_the_tightest_cgroup_of_version_2_counts(tmp_path: Path) -> None:
    root = write(
        tmp_path,
        {
            "proc/self/cgroup": "0::/pod/worker\n",
            "sys/fs/cgroup/cpu.max": "max 100000\n",
            "sys/fs/cgroup/pod/cpu.max": "150000 100000\n",
            "sys/fs/cgroup/pod/memory.max": f"{GIB}\n",
            "sys/fs/cgroup/pod/memory.current": f"{300 * MIB}\n",
            "sys/fs/cgroup/pod/worker/cpu.max": "400000 100000\n",
            "sys/fs/cgroup/pod/worker/memory.max": "max\n",
        },
    )
    found = cgroup_limits(root)
    assert (found.cpus, found.memory, found.memory_used) == (1.5, GIB, 300 * MIB)
    facts = host_facts(found)
    assert facts.memory_total == facts.memory_limit == GIB
    assert facts.memory_available <= GIB - 300 * MIB
    assert facts.usable_cpus == min(1.5, facts.cpus)


def test_cgroups_of_version_1_are_read_by_controller(tmp_path: Path) -> None:
    root = write(
        tmp_path,
        {
            "proc/self/cgroup": "4:memory:/job\n3:cpu,cpuacct:/job\n1:name=systemd:/job\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": f"{(1 << 63) - 4096}\n",
            "sys/fs/cgroup/memory/job/memory.limit_in_bytes": f"{2 * GIB}\n",
            "sys/fs/cgroup/memory/job/memory.usage_in_bytes": f"{MIB}\n",
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
            "sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_quota_us": "50000\n",
            "sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_period_us": "100000\n",
        },
    )
    found = cgroup_limits(root)
    assert (found.cpus, found.memory, found.memory_used) == (0.5, 2 * GIB, MIB)


def test_a_machine_without_cgroups_has_no_limits(tmp_path: Path) -> None:
    found = cgroup_limits(tmp_path)
    assert (found.cpus, found.memory) == (None, None)
    facts = host_facts()
    assert facts.cpus >= 1
    assert 0 < facts.memory_available <= facts.memory_total
    assert facts.open_files > 0
    assert all(i.name != "lo" for i in facts.interfaces)


def test_a_disk_below_a_partition_and_a_mapped_device_says_whether_it_turns(tmp_path: Path) -> None:
    block = tmp_path / "block"
    write(block, {"sda/queue/rotational": "1\n", "sdb/queue/rotational": "0\n", "sda/sda1/partition": "1\n"})
    write(block, {"dm-0/queue/rotational": "0\n"})
    (block / "dm-0/slaves").mkdir()
    (block / "dm-0/slaves/sda1").symlink_to(block / "sda/sda1")
    assert _rotational(block / "sda/sda1", 8) is True
    assert _rotational(block / "sdb", 8) is False
    assert _rotational(block / "dm-0", 8) is True
    assert _rotational(block / "nothing", 8) is None


def test_a_path_has_a_disk_and_space(tmp_path: Path) -> None:
    disk = disk_of(str(tmp_path))
    assert str(tmp_path).startswith(disk.mount)
    assert disk.kind in ("ssd", "rotational", "memory", "network", "unknown")
    space = space_of(str(tmp_path))
    assert 0 < space.free_bytes <= space.total_bytes
    if Path("/dev/shm").is_mount():
        assert disk_of("/dev/shm").kind == "memory"
