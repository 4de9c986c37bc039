"""What a person sees while a job runs, always on stderr: a live display on a terminal, else a plain line now and then.

No thread draws: every refresh happens inside the coordinator's call, so nothing here can outlive or disturb it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, TextIO

from hugesync_producer import human
from hugesync_producer.pace import Pace, settled
from hugesync_tasks.redact import redact
from hugesync_tasks.summary import Observer, Snapshot, Unobserved

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

PLAIN_INTERVAL = 10.0  # seconds of the job between two plain lines
FILES_SHOWN = 5


def observer_for(
    stream: TextIO, show: bool, quiet: bool, command: str, *, redraw: bool = True
) -> tuple[Observer, Callable[[], None]]:
    """The fitting observer and what ends it (call it before anything else is printed).

    ``quiet``: neither progress nor notices. ``show`` false: notices only. ``redraw`` false: no display that redraws itself.
    """
    if quiet:
        return Unobserved(), lambda: None
    if not show:
        return Notices(stream, command), lambda: None
    if not redraw or not stream.isatty() or os.environ.get("TERM") == "dumb":
        return PlainProgress(stream, command), lambda: None
    from rich.console import Console

    live = LiveProgress(Console(file=stream), command)
    return live, live.close


class Notices:
    """Only what a person should know at once."""

    def __init__(self, stream: TextIO, command: str) -> None:
        self.stream = stream
        self.command = command

    def say(self, message: str) -> None:
        text = human.plain(redact(message)).replace("\n", " ")
        try:
            print(f"{self.command}: {text}", file=self.stream, flush=True)
        except (OSError, ValueError):  # nobody reads any more; the job goes on
            pass

    def on_start(self, job_id: str, resumed: bool) -> None:
        if resumed:
            self.say(resuming(job_id, self.command))

    def on_progress(self, snapshot: Snapshot) -> None:
        pass

    def on_notice(self, message: str) -> None:
        self.say(message)


class PlainProgress(Notices):
    """One line every ``PLAIN_INTERVAL`` seconds: fit for a file, a pipe, a CI log."""

    def __init__(self, stream: TextIO, command: str) -> None:
        super().__init__(stream, command)
        self._pace = Pace()
        self._next = PLAIN_INTERVAL
        self._throttled = False  # since the last line: a line tells of its whole interval

    def on_progress(self, snapshot: Snapshot) -> None:
        self._pace.add(snapshot)
        self._throttled = self._throttled or snapshot.throttled
        if snapshot.elapsed >= self._next:
            self._next = snapshot.elapsed + PLAIN_INTERVAL
            told = replace(snapshot, throttled=self._throttled)
            said = (status(told, self._pace), counts(told), saved(told), largest(told), standing(told))
            self.say(" · ".join(part for parts in said for part in parts))
            self._throttled = False


class LiveProgress:
    """A few lines that redraw themselves and vanish at the end. Begins with the first snapshot."""

    def __init__(self, console: Console, command: str) -> None:
        from rich.live import Live

        self._console = console
        self._command = command
        self._pace = Pace()
        self._live = Live(console=console, auto_refresh=False, transient=True)

    def on_start(self, job_id: str, resumed: bool) -> None:
        if resumed:
            self.on_notice(resuming(job_id, self._command))

    def on_progress(self, snapshot: Snapshot) -> None:
        self._pace.add(snapshot)
        if not self._live.is_started:
            self._live.start()
        self._live.update(screen(snapshot, self._pace), refresh=True)

    def on_notice(self, message: str) -> None:
        from rich.text import Text

        self._console.print(Text(f"{self._command}: {human.plain(redact(message))}"), soft_wrap=True)

    def close(self) -> None:
        """Take the display away; may be repeated."""
        self._live.stop()


def resuming(job_id: str, command: str) -> str:
    """Said when a job goes on; that it need not is said where there is an option for it."""
    way_out = "; --fresh begins anew" if command in ("hugesync-submit", "hugesync verify") else ""
    return f"going on with job {job_id}, which did not finish{way_out}"


def status(s: Snapshot, pace: Pace) -> list[str]:
    """The parts of a status line: files, bytes, rates, time left. Totals are marked ≥ until the scan ends."""
    moving = sum(min(moved, size) for _, moved, size in s.in_flight)
    found, files = s.bytes.get("found", 0), s.files.get("found", 0)
    ready, at_least = found - max(0, s.bytes.get("pending", 0) - moving), "" if s.scan_complete else "≥ "
    parts = [
        f"{human.count(settled(s.files))} of {at_least}{human.count(files)} files{_percent(settled(s.files), files)}",
        f"{human.size(ready)} of {at_least}{human.size(found)}{_percent(ready, found)}",
        *_rates(s, pace),
    ]
    left = time_left(pace.eta())
    return [*parts, left] if left else parts


def _percent(part: int, whole: int) -> str:
    """Rounded down: 100 % is all of it."""
    return f" ({100 * part // whole} %)" if whole else ""


def _rates(s: Snapshot, pace: Pace) -> list[str]:
    """Over ten seconds, and as soon as they say something else, over a minute and the whole run."""
    rates = [human.rate(pace.bytes_per_second())]
    if s.elapsed > 20:
        rates[0] += " over 10 s"
        rates.append(f"{human.rate(pace.bytes_per_second(60.0))} over 1 min")
    if s.elapsed > 90:
        rates.append(f"{human.rate(pace.whole())} in all")
    files = pace.files_per_second()
    return [", ".join(rates), *([f"{files:,.0f} files/s"] if files >= 1 else [])]


def counts(s: Snapshot) -> list[str]:
    """What became of the files that were found; these add up. What a list named and the source lacks stands beside them."""
    if not s.files.get("found"):
        return []
    why = ", ".join(f"{name} {human.count(n)}" for name, n in s.skipped_by.items() if n)
    parts = [f"done {human.count(s.files.get('done', 0))}"]
    if s.files.get("skipped"):
        parts.append(f"skipped {human.count(s.files['skipped'])}" + (f" ({why})" if why else ""))
    parts += [f"{name} {human.count(s.files[name])}" for name in ("failed", "pending", "missing") if s.files.get(name)]
    return parts + [f"deleted {human.count(s.files['deleted'])}" for _ in range(1) if s.files.get("deleted")]


def saved(s: Snapshot) -> list[str]:
    """What did not have to be carried so far."""
    reused, copied = (s.traffic.get(name, 0) for name in ("reused", "copied_server_side"))
    parts = [f"reused {human.size(reused)}"] if reused else []
    parts += [f"copied by store or kernel {human.size(copied)}"] if copied else []
    return [f"saved {human.size(reused + copied)}: {', '.join(parts)}"] if parts else []


def standing(s: Snapshot) -> list[str]:
    """What hinders, where anything does."""
    parts = ["paused: nothing is sent until it is resumed"] if s.paused else []
    if s.waiting_for:
        parts.append(s.waiting_for if s.waiting_for.startswith("stopping: ") else f"waiting: {s.waiting_for}")
    if s.throttled:
        parts.append("throttled: the store asks us to slow down")
    return parts


def largest(s: Snapshot) -> list[str]:
    """The largest file on its way, for a line."""
    return [f"{human.name(key)}: {human.size(moved)} of {human.size(size)}" for key, moved, size in s.in_flight[:1]]


def time_left(eta: tuple[float, float | None] | None) -> str:
    """An estimate as a range of the same units: ``3 to 5 min left``, ``at least 2 h left``; "" where there is none."""
    if eta is None:
        return ""
    soonest, latest = eta
    unit, seconds = _unit(latest if latest is not None else soonest)
    low = int(soonest / seconds)
    if latest is None:
        return f"at least {max(1, low)} {unit} left"
    high = max(1, -int(-latest // seconds))
    return f"{low} to {high} {unit} left" if low < high else f"{high} {unit} left"


def _unit(seconds: float) -> tuple[str, int]:
    for name, length in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return name, length
    return "s", 1


def screen(s: Snapshot, pace: Pace) -> RenderableType:
    """All that a terminal shows of one job."""
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    def text(words: str) -> Text:  # Text, never markup: a name like "[red]" is a name
        return Text(words, no_wrap=True, overflow="ellipsis")

    rows: list[RenderableType] = [text(" · ".join(status(s, pace)))]
    rows += [text("  " + " · ".join(parts)) for parts in (counts(s) + saved(s),) if parts]
    if hinders := standing(s):
        rows.append(text(" · ".join(human.plain(redact(h)) for h in hinders)))
    if s.in_flight:
        table = Table.grid(padding=(0, 1))
        table.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
        table.add_column(width=20)
        table.add_column(justify="right", no_wrap=True)
        for key, moved, size in s.in_flight[:FILES_SHOWN]:
            bar = ProgressBar(total=max(size, 1), completed=min(moved, size), width=20)
            table.add_row(text(f"  {human.name(key)}"), bar, text(f"{human.size(moved)} of {human.size(size)}"))
        rows.append(table)
    return Group(*rows)
