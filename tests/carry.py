"""What coordinator and worker do with one job, in this process and without a queue: for stores that live in its memory."""

from __future__ import annotations

from dataclasses import dataclass, field

from hugesync_producer.plan import Segment
from hugesync_producer.planfeed import PlanFeed
from hugesync_tasks.budget import Budget
from hugesync_tasks.model import Entry, Kind, Outcome
from hugesync_tasks.spec import Location, Options, Spec
from hugesync_tasks.stages.context import JobContext, finishing
from hugesync_tasks.stages.execute import BatchRun
from hugesync_tasks.stores.base import MIB, Store
from hugesync_tasks.token import Meter, Token


@dataclass
class Carried:
    """``found``: files that were planned. ``outcomes``: of files that reached a worker; folders stand apart."""

    found: int = 0
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    folders: dict[str, Outcome] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)  # by the planner: key -> why
    skipped: int = 0  # without asking a worker

    def unlike(self, state: str, reason: str = "") -> dict[str, Outcome]:
        """What did not end so."""
        return {k: o for k, o in self.outcomes.items() if (o.state, o.reason) != (state, reason)}


def carry(source: Store, dest: Store, options: Options | None = None) -> Carried:
    ends = [Location("file", local=f"/{end}") for end in ("source", "dest")]
    job = JobContext(Spec("job", ends[0], ends[1], options=options or Options()), source, dest)
    done = Carried()
    finishes: list[Entry] = []
    feed = PlanFeed(job, Meter())
    feed.start()
    try:
        for segment in feed.segments():
            _carry_segment(job, segment, done)
            finishes += segment.finishes
    finally:
        feed.stop()
    for folder in finishes:
        dest.finish_folder(folder.key, finishing(job, folder, Token()), Token())
    return done


def _carry_segment(job: JobContext, segment: Segment, done: Carried) -> None:
    assert segment.larges == (), "only for small files"
    done.found += segment.tally.files["found"]
    done.skipped += segment.tally.files["skipped"]
    done.refused.update({f.key: f.message for f in segment.failures})
    for batch in segment.batches:
        outcomes: dict[int, Outcome] = {}
        BatchRun(job, Token(), outcomes.update, Budget(64 * MIB)).run(dict(enumerate(batch)))
        for n, transfer in enumerate(batch):
            kept = done.folders if transfer.source.kind is Kind.DIR else done.outcomes
            kept[transfer.key] = outcomes[n]
