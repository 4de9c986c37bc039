"""What is shown while a job runs: rates and remaining time from snapshots, on a terminal and elsewhere."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from hugesync_producer.pace import FILE_COST, LASTING, Pace, Slowdown, slowed
from hugesync_producer.progress import (
    LiveProgress,
    PlainProgress,
    counts,
    observer_for,
    saved,
    standing,
    status,
    time_left,
)
from hugesync_tasks.summary import Snapshot, Unobserved

MIB = 1 << 20
SLOW = "throttled: the store asks us to slow down"


def at(t: float, done: int, total: int = 1000, complete: bool = True, **more: object) -> Snapshot:
    """A job of ``total`` files of 1 MiB, ``done`` of them done ``t`` seconds after the start."""
    counts = {"found": total, "done": done, "pending": total - done}
    sizes = {k: v * MIB for k, v in counts.items()}
    known: dict[str, object] = {"moved_bytes": done * MIB, "scan_complete": complete, "elapsed": t}
    return Snapshot(counts, sizes, **{**known, **more})  # type: ignore[arg-type]


def paced(*snapshots: Snapshot) -> Pace:
    pace = Pace()
    for snapshot in snapshots:
        pace.add(snapshot)
    return pace


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_at_a_steady_rate_the_range_holds_the_true_end_and_is_narrow() -> None:
    pace = paced(*(at(t, 10 * t) for t in range(20)))

    found = pace.eta()

    assert found is not None
    soonest, latest = found
    assert latest is not None
    assert soonest < (1000 - 190) / 10 < latest < 1.3 * soonest
    assert pace.bytes_per_second() == pytest.approx(10 * MIB)


def test_when_the_rate_has_changed_the_range_spans_both_rates() -> None:
    fast = [at(t, 20 * t, 5000) for t in range(60)]
    slow = [at(60 + t, 1200 + 2 * t, 5000) for t in range(60)]

    found = paced(*fast, *slow).eta()

    assert found is not None
    left = 5000 - 1318
    assert found[0] <= left / (1318 / 119)
    assert found[1] is not None
    assert found[1] >= left / 2


def test_nothing_is_foretold_in_the_first_seconds_or_while_waiting_or_when_nothing_moves() -> None:
    assert paced(at(0, 0), at(2, 50)).eta() is None
    assert paced(at(0, 0), at(9, 50, waiting_for="a worker")).eta() is None
    assert paced(at(0, 0), at(9, 0)).eta() is None
    assert Pace().eta() is None


def test_until_the_scan_ends_there_is_no_latest_end() -> None:
    found = paced(at(0, 0, complete=False), at(10, 50, complete=False)).eta()

    assert found is not None
    assert found[1] is None


def test_a_large_file_in_flight_counts_as_progress() -> None:
    big = 100 * MIB
    counts, sizes = {"found": 1, "pending": 1}, {"found": big, "pending": big}
    moving = [
        Snapshot(
            counts, sizes, moved_bytes=m * MIB, scan_complete=True, elapsed=m / 5, in_flight=(("a", m * MIB, big),)
        )
        for m in range(0, 51, 5)
    ]

    found = paced(*moving).eta()

    assert found is not None
    assert found[1] is not None
    assert found[0] < (50 * MIB + FILE_COST) / (5 * MIB) < found[1]


def test_a_file_costs_time_beside_its_bytes() -> None:
    """A GiB at 10 MiB/s, then tiny files: by their bytes alone they would take no time, and after tiny files the GiB for ever."""
    tiny, large = 40_000, 1024 * MIB

    def shot(t: float, large_moved: int, tiny_done: int) -> Snapshot:
        whole = large_moved == large
        counts = {"found": tiny + 1, "done": tiny_done + whole, "pending": tiny - tiny_done + (not whole)}
        sizes = {"found": large + tiny, "done": tiny_done + large * whole}
        sizes["pending"] = sizes["found"] - sizes["done"]
        in_flight = () if whole else (("large", large_moved, large),)
        return Snapshot(counts, sizes, large_moved + tiny_done, True, t, in_flight=in_flight)

    after_the_large = paced(*(shot(t, 10 * MIB * t if t < 103 else large, 0) for t in range(104))).eta()
    after_the_tiny = paced(*(shot(t, 0, 400 * t) for t in range(101))).eta()

    assert after_the_large is not None
    assert after_the_tiny is not None
    assert after_the_large[0] > 60
    assert after_the_tiny[1] is not None
    assert after_the_tiny[1] < 600


def test_what_an_earlier_run_had_done_does_not_count_as_speed() -> None:
    resumed = paced(at(0, 900), at(10, 905))

    assert resumed.bytes_per_second() == pytest.approx(MIB / 2)
    found = resumed.eta()
    assert found is not None
    assert found[0] > 100


@given(st.lists(st.tuples(st.floats(0, 10), st.integers(0, 50)), max_size=200))
def test_any_course_of_a_job_gives_sane_figures_in_bounded_memory(steps: list[tuple[float, int]]) -> None:
    pace, t, done = Pace(), 0.0, 0
    for wait, more in steps:
        t, done = t + wait, min(1000, done + more)
        pace.add(at(t, done))
        found = pace.eta()
        assert pace.bytes_per_second() >= 0
        assert found is None or found[1] is None or 0 <= found[0] <= found[1]
    assert len(pace._samples) <= 130


@pytest.mark.parametrize(
    ("eta", "shown"),
    [
        (None, ""),
        ((9.0, 14.2), "9 to 15 s left"),
        ((170.0, 290.0), "2 to 5 min left"),
        ((0.0, 0.2), "0 to 1 s left"),
        ((7200.0, 7200.0), "2 h left"),
        ((3600.0, 400_000.0), "0 to 5 days left"),
        ((650.0, None), "at least 10 min left"),
    ],
)
def test_time_left_is_a_range(eta: tuple[float, float | None] | None, shown: str) -> None:
    assert time_left(eta) == shown


def test_a_status_marks_totals_as_lower_bounds_until_the_scan_ends() -> None:
    assert status(at(1, 250, complete=False), Pace())[:2] == [
        "250 of ≥ 1,000 files (25 %)",
        "250.0 MiB of ≥ 1000.0 MiB (25 %)",
    ]
    assert status(at(1, 250), Pace())[:2] == ["250 of 1,000 files (25 %)", "250.0 MiB of 1000.0 MiB (25 %)"]


def test_what_hinders_is_said() -> None:
    hindered = Snapshot({"failed": 2}, {}, throttled=True, waiting_for="no worker sees root 'home'")

    assert standing(hindered) == ["waiting: no worker sees root 'home'", SLOW]
    assert standing(at(1, 1, paused=True, waiting_for="stopping: soon")) == [
        "paused: nothing is sent until it is resumed",
        "stopping: soon",
    ]
    assert standing(at(1, 1)) == []


def test_a_hundred_percent_is_all_of_it() -> None:
    assert status(at(1, 999), Pace())[0] == "999 of 1,000 files (99 %)"
    assert status(at(1, 1000), Pace())[0] == "1,000 of 1,000 files (100 %)"
    assert status(Snapshot({}, {}), Pace())[:2] == ["0 of ≥ 0 files", "0 B of ≥ 0 B"]


def test_bytes_on_their_way_are_in_the_percentage() -> None:
    moving = at(1, 0, 2, in_flight=(("a", MIB // 2, MIB),))
    assert status(moving, Pace())[:2] == ["0 of 2 files (0 %)", "512.0 KiB of 2.0 MiB (25 %)"]


def test_rates_are_over_ten_seconds_a_minute_and_the_whole_run() -> None:
    pace = Pace()
    for t in range(301):  # 1 MiB/s, of the last minute 2, of the last ten seconds 4
        moved = t + max(0, t - 240) + 2 * max(0, t - 290)
        shot = Snapshot({"found": 9000, "done": 3 * t, "pending": 9000 - 3 * t}, {}, moved * MIB, True, float(t))
        pace.add(shot)
        if t == 15:
            assert status(shot, pace)[2:4] == ["1.0 MiB/s", "3 files/s"]
    assert pace.bytes_per_second() == pytest.approx(4 * MIB)
    assert pace.bytes_per_second(60.0) == pytest.approx((2 * 50 + 4 * 10) / 60 * MIB)
    assert pace.whole() == pytest.approx(380 / 300 * MIB)
    assert status(shot, pace)[2] == "4.0 MiB/s over 10 s, 2.3 MiB/s over 1 min, 1.3 MiB/s in all"


def test_whoever_begins_to_watch_later_knows_the_whole_run_too() -> None:
    pace = paced(at(100, 500), at(102, 504))
    assert pace.whole() == pytest.approx(504 / 102 * MIB)
    assert pace.bytes_per_second() == pytest.approx(2 * MIB)


def test_what_became_of_the_files_adds_up_and_the_missing_stand_beside_it() -> None:
    files = {"found": 12, "done": 3, "skipped": 6, "failed": 1, "pending": 2, "missing": 4, "deleted": 5}
    shot = Snapshot(files, {}, skipped_by={"same": 4, "filtered": 2, "special": 0})
    assert counts(shot) == [
        "done 3",
        "skipped 6 (same 4, filtered 2)",
        "failed 1",
        "pending 2",
        "missing 4",
        "deleted 5",
    ]
    assert counts(Snapshot({}, {})) == []


def test_what_was_saved_so_far_is_told() -> None:
    assert saved(at(1, 1)) == saved(at(1, 1, traffic={"sent": 7})) == []
    assert saved(at(1, 1, traffic={"reused": 3 * MIB, "copied_server_side": MIB})) == [
        "saved 4.0 MiB: reused 3.0 MiB, copied by store or kernel 1.0 MiB"
    ]


def test_a_plain_line_has_all_of_it_once() -> None:
    stream = io.StringIO()
    plain = PlainProgress(stream, "hugesync-submit")
    more = {"traffic": {"reused": MIB}, "in_flight": (("d/a", MIB, 2 * MIB),), "paused": True}
    plain.on_progress(at(0, 0))
    plain.on_progress(at(10, 10, **more))
    (line,) = stream.getvalue().splitlines()
    for part in (
        "(1 %)",
        "1.0 MiB/s",
        "done 10",
        "pending 990",
        "saved 1.0 MiB",
        "d/a: 1.0 MiB of 2.0 MiB",
        "paused: ",
    ):
        assert line.count(part) >= 1, part
    assert line.count("pending") == 1


def test_plain_progress_is_a_line_every_ten_seconds_of_the_job() -> None:
    stream = io.StringIO()
    plain = PlainProgress(stream, "hugesync-submit")

    for tenth in range(350):
        plain.on_progress(at(tenth / 10, tenth))

    lines = stream.getvalue().splitlines()
    assert len(lines) == 3
    assert all(line.startswith("hugesync-submit: ") and "files" in line for line in lines)


def test_a_store_counts_as_slow_for_five_seconds_after_it_last_said_so() -> None:
    slowdown = Slowdown()

    assert not slowdown.saw(0, 0.0)
    assert slowdown.saw(2, 1.0)
    assert slowdown.saw(2, 1.0 + LASTING - 0.1)
    assert not slowdown.saw(2, 1.0 + LASTING)
    assert slowdown.saw(3, 20.0)


def test_a_summary_says_how_often_a_store_was_too_busy_and_is_silent_where_it_was_not() -> None:
    assert slowed({"retries": 3, "bytes.sent": 7}) == []
    (both,) = slowed({"throttled": 1, "held": 1234})
    assert both == "throttled: 1 request repeated because the store asked us to slow down, 1,234 held back for a while"
    (held,) = slowed({"held": 2})
    assert "0 requests repeated" in held


def test_a_count_that_begins_anew_says_nothing_until_it_rises() -> None:
    slowdown = Slowdown()
    slowdown.saw(7, 0.0)

    assert not slowdown.saw(1, 60.0)
    assert slowdown.saw(2, 61.0)


def test_a_plain_line_tells_of_throttling_in_all_of_its_interval_and_the_next_one_does_not() -> None:
    stream = io.StringIO()
    plain = PlainProgress(stream, "hugesync-submit")

    for second in range(25):
        plain.on_progress(at(second, second, throttled=3 <= second < 5))

    first, second = stream.getvalue().splitlines()
    assert first.endswith(SLOW)
    assert "throttled" not in second


def test_a_closed_stream_does_not_stop_the_job() -> None:
    stream = io.StringIO()
    plain = PlainProgress(stream, "hugesync-submit")
    stream.close()

    plain.on_notice("still there?")
    plain.on_progress(at(60, 1))

    assert stream.closed


def test_the_live_display_shows_files_in_flight_literally_and_leaves_nothing_behind() -> None:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=100, color_system=None)
    live = LiveProgress(console, "hugesync-submit")

    live.on_start("j1", True)
    live.on_progress(at(5, 10, in_flight=(("dir/[bold]x\x1b[2J\n", 3 * MIB, 10 * MIB),), throttled=True))
    live.on_notice("mind redis://:hunter2@h")
    live.close()
    live.close()

    shown = stream.getvalue()
    assert r"$'dir/[bold]x\e[2J\n'" in shown
    assert "\x1b[2J" not in shown
    assert "3.0 MiB of 10.0 MiB" in shown
    assert SLOW in shown
    assert "going on with job j1" in shown
    assert "mind redis://***@h" in shown
    assert shown.endswith("\x1b[2K")  # the last thing done is to clear its own line


def test_a_terminal_gets_the_live_display_and_everything_else_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    assert isinstance(observer_for(Terminal(), True, False, "x")[0], LiveProgress)
    assert isinstance(observer_for(io.StringIO(), True, False, "x")[0], PlainProgress)
    assert isinstance(observer_for(Terminal(), True, True, "x")[0], Unobserved)
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(observer_for(Terminal(), True, False, "x")[0], PlainProgress)
