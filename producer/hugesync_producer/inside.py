"""Files that are finished inside batches which are not: they count as soon as the ledger has their receipts."""

from __future__ import annotations

from itertools import islice

from hugesync_producer.dispatch import Dispatcher
from hugesync_producer.unitkinds import Batch
from hugesync_producer.window import Counters
from hugesync_tasks.model import Kind, Outcome
from hugesync_tasks.state.base import Ledger

MOST = 32  # batches read at one look, each of up to 512 files: bounds what a large fleet costs its coordinator
COUNTED = ("done", "skipped", "failed")  # "large" stays pending: it goes on by itself


class Inside:
    """What the receipts of batches at work say. It moves files within a total from pending to their outcome, so the law holds as
    it did; when their batch is settled they are in its segment, and no more in here."""

    def __init__(self, ledger: Ledger, job: str, dispatcher: Dispatcher) -> None:
        self._ledger, self._job, self._dispatcher = ledger, job, dispatcher
        self._turn = 0

    def look(self) -> None:
        """Read what came, of at most ``MOST`` batches, all of them in turn. Raises Unreachable."""
        at_work = {task: batch for task, batch in self._batches() if len(batch.items) > 1}
        start = self._turn if self._turn < len(at_work) else 0
        some = dict(islice(at_work.items(), start, start + MOST))
        self._turn = start + MOST
        if not some:
            return
        found = self._ledger.finished(self._job, {task: len(batch.finished) for task, batch in some.items()})
        for task, receipts in found.items():
            some[task].finished = {index: Outcome.unwire(wire) for index, wire in receipts.items()}

    def count_in(self, total: Counters) -> None:
        """``total``, of which nothing else is kept, with what is finished inside."""
        for _, batch in self._batches():
            for index, outcome in batch.finished.items():
                source = batch.items[index].source
                if outcome.state in COUNTED and source.kind is not Kind.DIR:
                    total.settle(source.key, source.size, outcome)

    def _batches(self) -> list[tuple[str, Batch]]:
        return [(task, out.unit) for task, out in self._dispatcher.out.items() if isinstance(out.unit, Batch)]
