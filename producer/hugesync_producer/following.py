"""Who follows a job besides the person at the terminal: ``--events``, ``--log-file`` and ``--itemize-changes``."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from hugesync_producer import human
from hugesync_producer.eventfile import EventFile, opened
from hugesync_producer.events import FileEvent
from hugesync_producer.itemize import line
from hugesync_producer.lines import Lines
from hugesync_producer.logobserver import LogObserver, log_end
from hugesync_producer.report import honest
from hugesync_tasks.summary import Observer, Snapshot, Summary

if TYPE_CHECKING:
    from hugesync_producer.cli_run import Output

_SHOWN = ("done", "would_transfer", "deleted", "would_delete")


class Itemized:
    """``-i``: a line on stdout for each file that is sent or deleted. Whoever reads them slowly holds up nothing before the end."""

    def __init__(self) -> None:
        try:
            fd = sys.stdout.fileno()  # now: a live display puts itself in its place
        except (OSError, ValueError, AttributeError):
            fd = 1
        self._lines = Lines(fd, lambda n: f"({human.counted(n, 'line')} not shown)", owns=False)

    def on_start(self, job_id: str, resumed: bool) -> None:
        pass

    def on_progress(self, snapshot: Snapshot) -> None:
        pass

    def on_notice(self, message: str) -> None:
        pass

    def on_file(self, event: FileEvent) -> None:
        if event.changes and event.outcome in _SHOWN:
            self._lines.add(line(event.changes, event.path))

    def end(self) -> str:
        """What to say of lines that are missing; nothing where the reader left."""
        with suppress(KeyboardInterrupt):
            self._lines.close(None)
        lost = 0 if self._lines.reader_left else self._lines.lost
        return f"-i: {human.counted(lost, 'line')} not shown: {self._lines.why}" if lost else ""


class Following:
    """Open with ``of``; ``over`` an observer, they follow a job; ``end`` tells them its end and closes what is theirs."""

    def __init__(self) -> None:
        self._observers: list[Observer] = []
        self._ends: list[Callable[[Summary, bool], str]] = []

    @classmethod
    def of(cls, out: Output) -> Following:
        """What the options ask for. Raises UsageError for a file that cannot be written; then nothing is left open."""
        this = cls()
        paths = {option: path for option, path in (("--events", out.events), ("--log-file", out.log_file)) if path}
        fds: dict[str, int] = {}
        try:
            for option, path in paths.items():
                fds[option] = opened(option, path)
        except BaseException:
            for fd in fds.values():
                os.close(fd)
            raise
        if "--events" in fds:
            this._write_events(EventFile(fds["--events"], out.events, out.command))
        if "--log-file" in fds:
            this._log(Lines(fds["--log-file"], lambda n: f"({human.counted(n, 'line')} not written)"), out)
        if out.itemize:
            this._itemize(Itemized())
        if out.exposed:
            this._expose(out)
        return this

    def _write_events(self, events: EventFile) -> None:
        self._observers.append(events)
        self._ends.append(lambda summary, began: events.end(summary))

    def _log(self, lines: Lines, out: Output) -> None:
        from hugesync_tasks.logs import ONLY_IN_FILES, also_to, get_logger

        also_to(lines.add, "DEBUG" if out.debug else "INFO")
        log = get_logger(ONLY_IN_FILES)
        if not out.in_json:  # else they are events of stderr, and so of the file
            self._observers.append(LogObserver(True, log))

        def end(summary: Summary, began: bool) -> str:
            log_end(log, summary, began)  # stderr has it later, when this file is closed
            also_to(None)
            lines.close()
            if not lines.lost:
                return ""
            return f"log: {human.name(out.log_file)} lacks {human.counted(lines.lost, 'line')}: {lines.why}"

        self._ends.append(end)

    def _expose(self, out: Output) -> None:
        from hugesync_producer.exposing import Exposing
        from hugesync_tasks.config import load

        exposing = Exposing(load().metrics_host, out.exposed)
        if missing := exposing.begin():
            out.notice(missing)
            return
        self._observers.append(exposing)
        self._ends.append(exposing.end)

    def _itemize(self, itemized: Itemized) -> None:
        self._observers.append(itemized)
        self._ends.append(lambda summary, began: itemized.end())

    def over(self, observer: Observer) -> Observer:
        return Several([observer, *self._observers]) if self._observers else observer

    def end(self, summary: Summary, began: bool) -> list[str]:
        """What to say of what is missing in what was written."""
        told, _ = honest(summary)
        return [said for end in self._ends if (said := end(told, began))]


class Several:
    """One observer for several; ``on_file`` is there where one of them has it."""

    def __init__(self, observers: list[Observer]) -> None:
        self._observers = observers
        told = [o.on_file for o in observers if hasattr(o, "on_file")]

        def on_file(event: FileEvent) -> None:
            for tell in told:
                tell(event)

        if told:
            self.on_file = on_file

    def on_start(self, job_id: str, resumed: bool) -> None:
        for observer in self._observers:
            observer.on_start(job_id, resumed)

    def on_progress(self, snapshot: Snapshot) -> None:
        for observer in self._observers:
            observer.on_progress(snapshot)

    def on_notice(self, message: str) -> None:
        for observer in self._observers:
            observer.on_notice(message)
