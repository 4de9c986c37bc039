"""What a person sees of several jobs at once: a block for each on a terminal, else each job's plain lines."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TextIO

from hugesync_producer import human
from hugesync_producer.pace import Pace
from hugesync_producer.progress import Notices, PlainProgress, screen
from hugesync_tasks.redact import redact
from hugesync_tasks.summary import Observer, Snapshot, Unobserved

if TYPE_CHECKING:
    from rich.console import Console


def observers_for(
    stream: TextIO, show: bool, quiet: bool, command: str, jobs: Sequence[str]
) -> tuple[dict[str, Observer], Callable[[], None]]:
    """An observer for each job and what ends them all; the choice is that of ``progress.observer_for``."""
    if quiet:
        return {job: Unobserved() for job in jobs}, lambda: None
    if not show or not stream.isatty() or os.environ.get("TERM") == "dumb":
        kind = PlainProgress if show else Notices
        return {job: kind(stream, f"{command}: {job}") for job in jobs}, lambda: None
    from rich.console import Console

    board = Board(Console(file=stream), command)
    return {job: Row(board, job) for job in jobs}, board.close


class Board:
    """The blocks of several jobs, redrawn as one."""

    def __init__(self, console: Console, command: str) -> None:
        from rich.live import Live

        self.console, self.command = console, command
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self._shown: dict[str, tuple[Snapshot, Pace]] = {}

    def draw(self, job: str, snapshot: Snapshot, pace: Pace) -> None:
        from rich.console import Group
        from rich.text import Text

        self._shown[job] = snapshot, pace
        if not self._live.is_started:
            self._live.start()
        blocks = [part for name, shown in self._shown.items() for part in (Text(name, style="bold"), screen(*shown))]
        self._live.update(Group(*blocks), refresh=True)

    def forget(self, job: str) -> None:
        self._shown.pop(job, None)

    def close(self) -> None:
        """Take the display away; may be repeated."""
        self._live.stop()


class Row:
    """One job's part of a ``Board``."""

    def __init__(self, board: Board, job: str) -> None:
        self._board, self._job = board, job
        self._pace = Pace()

    def on_start(self, job_id: str, resumed: bool) -> None:
        pass

    def on_progress(self, snapshot: Snapshot) -> None:
        self._pace.add(snapshot)
        self._board.draw(self._job, snapshot, self._pace)

    def ended(self) -> None:
        """It is shown no more."""
        self._board.forget(self._job)

    def on_notice(self, message: str) -> None:
        from rich.text import Text

        said = f"{self._board.command}: {self._job}: {human.plain(redact(message))}"
        self._board.console.print(Text(said), soft_wrap=True)
