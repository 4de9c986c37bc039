"""The second join of ``--delete``: fresh listings of both ends, to their end, before the first delete. What is to go is noted on
disk; files first, then folders, deepest first."""

from __future__ import annotations

from collections.abc import Callable
from threading import Thread

from hugesync_producer.deleterules import MaxDelete
from hugesync_producer.extras import Seen
from hugesync_producer.join import join
from hugesync_producer.planfeed import extras_of, listings
from hugesync_producer.scan import Feed
from hugesync_producer.spool import Spool
from hugesync_tasks.errors import Refused
from hugesync_tasks.model import Entry, Removal
from hugesync_tasks.stages.context import JobContext
from hugesync_tasks.token import Meter


class SecondLook:
    """Runs in a thread of its own. When ``ended``, either ``error`` says why it broke off, or it saw everything."""

    def __init__(self, job: JobContext, meter: Meter, device: str, tidy: Callable[[], object]) -> None:
        """``device``: what the source lay on when the job began. ``tidy``: called first."""
        self._job, self._meter, self._device, self._tidy = job, meter, device, tidy
        self._limit = MaxDelete.parse(job.spec.options.max_delete).count
        self._feeds: tuple[Feed, ...] = ()
        self._stopped = False
        self.files, self.folders = Spool(), Spool()
        self.seen = Seen()
        self.first: Entry | None = None  # a regular file of the source
        self.sidecars = False  # whether signatures of ours were met at the destination
        self.error: BaseException | None = None
        self.ended = False
        self._thread = Thread(target=self._run, name="second-look", daemon=True)

    def start(self) -> SecondLook:
        self._thread.start()
        return self

    def stop(self) -> None:
        """What a silent store holds is left behind."""
        self._stopped = True
        for feed in self._feeds:
            feed.cancel()
        self._thread.join(0.5)
        if not self._thread.is_alive():
            self.files.close()
            self.folders.close()

    def _run(self) -> None:
        try:
            self._tidy()
            self._same_device()
            extras = extras_of(self._job, self._note)
            source, dest, shown = listings(self._job, self._meter, extras=extras)
            self._feeds = source, dest
            for item in join(source, dest):
                if self._stopped:
                    return
                if item is not None:
                    extras.take(item)
            extras.close()
            self._same_device()
            self.seen, self.first, self.sidecars = extras.seen, extras.first, shown.hidden > 0
        except BaseException as error:  # handed to the coordinator, which raises it
            self.error = error
        finally:
            for feed in self._feeds:
                feed.cancel()
            self.ended = True

    def _same_device(self) -> None:
        if self._job.source.device != self._device:
            raise Refused(
                f"{self._job.spec.source.display()} is another folder, or on another device, than when the job began; "
                "nothing was deleted"
            )

    def _note(self, removal: Removal) -> None:
        if self._limit is None or self.files.count + self.folders.count <= self._limit:  # more is refused in any case
            (self.files if removal.counted else self.folders).add(removal)
