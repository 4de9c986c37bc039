"""``sync_events(source, dest, ...)``: the library's call as an iterator of what happens, in a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Unpack

from hugesync_producer.aside import JobThread
from hugesync_producer.events import Ended, Event, FileEvent, Notice, Progress, Started
from hugesync_producer.keywords import Keywords
from hugesync_producer.mailbox import Mailbox
from hugesync_producer.namelist import NameList
from hugesync_tasks.config import Settings
from hugesync_tasks.spec import Options, Rules, Selection
from hugesync_tasks.summary import Observer, Snapshot, Summary, state_of_error


class Running:
    """A job that was begun. Iterate to hear of it; the last event is ``Ended``, and ``summary`` is its summary.

    As a context manager it ends with the block: a job that still runs is told to stop, and waited for. What the call itself
    would have raised is raised by the iteration, or by ``wait``.
    """

    def __init__(self, work: Callable[[Observer], Summary]) -> None:
        self._mailbox = Mailbox()
        self._stop = threading.Event()
        self._over = False  # the last event was taken
        self._summary: Summary | None = None
        self._error: BaseException | None = None
        # a daemon: a program that ends takes its job with it, as a kill would, and the job can be resumed
        self._thread = JobThread(target=self._run, args=(work,), name="job", daemon=True)
        self._thread.start()

    @property
    def summary(self) -> Summary:
        """Of a job that has ended. Raises RuntimeError while it runs, and what ended it without a summary."""
        if self._error is not None:
            raise self._error
        if self._summary is None:
            raise RuntimeError("the job has not ended")
        return self._summary

    def stop(self) -> None:
        """As the first Ctrl-C of a command: nothing new begins, what is in hand finishes within ten seconds. Returns at once."""
        self._stop.set()

    def wait(self) -> Summary:
        """Until the job has ended, without hearing of it; its summary."""
        for _ in self:
            pass
        return self.summary

    def __iter__(self) -> Iterator[Event]:
        return self

    def __next__(self) -> Event:
        if self._over:
            raise StopIteration
        event = self._mailbox.take()
        if isinstance(event, Ended):
            self._over = True
            self._thread.join()
            if self._error is not None:
                raise self._error
        return event

    def __enter__(self) -> Running:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()
        self._thread.join()

    def _run(self, work: Callable[[Observer], Summary]) -> None:
        try:
            summary = self._summary = work(_Teller(self._mailbox, self._stop.is_set))
        except BaseException as error:  # raised where somebody hears it
            self._error, summary = error, Summary(state_of_error(error))
        self._mailbox.put(Ended(summary))


class _Teller:
    """The observer of the job's thread."""

    def __init__(self, mailbox: Mailbox, stop_wanted: Callable[[], bool]) -> None:
        self._mailbox = mailbox
        self.stop_wanted = stop_wanted  # asked between two turns of the coordinator (``stopping.asked``)

    def on_start(self, job_id: str, resumed: bool) -> None:
        self._mailbox.put(Started(job_id, resumed))

    def on_progress(self, snapshot: Snapshot) -> None:
        self._mailbox.put(Progress(snapshot))

    def on_notice(self, message: str) -> None:
        self._mailbox.put(Notice(message))

    def on_file(self, event: FileEvent) -> None:
        self._mailbox.put(event)


class Arguments(Keywords, total=False):
    """What ``sync`` takes beside both ends, but for ``observer``."""

    settings: Settings | None
    rules: Rules | None
    selection: Selection | None
    options: Options | None
    source_profile: str
    dest_profile: str
    dry_run: bool
    fresh: bool
    detach: bool
    files_from: NameList | None
    map_file: tuple[str, str] | None


def sync_events(source: str, dest: str, **arguments: Unpack[Arguments]) -> Running:
    """Begin ``sync(source, dest, ...)`` in a thread and return at once. docs/library.md shows its use."""
    from hugesync_producer.sync import sync

    return Running(lambda observer: sync(source, dest, observer=observer, **arguments))
