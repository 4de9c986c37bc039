"""The task that deletes what only the destination has. A kill or a second delivery is harmless: gone already is success."""

from __future__ import annotations

import json
from collections.abc import Mapping

from hugesync_tasks import measuring
from hugesync_tasks.model import Outcome, Removal
from hugesync_tasks.stages.remove import RemoveRun
from hugesync_tasks.work import Work


def delete(work: Work) -> str:
    todo = json.loads(work.task.payload)
    items = {i: Removal.unwire(w) for i, w in enumerate(todo["items"])}
    done = {i: Outcome.unwire(w) for i, w in work.claim.receipts.items()}

    def report(finished: Mapping[int, Outcome]) -> None:
        done.update(finished)
        if len(done) < len(items):
            work.lease.receipts(finished)
        for i, outcome in finished.items():
            if items[i].counted:
                measuring.finished(outcome, 0)

    RemoveRun(work.job, work.lease.token, report, todo["sidecars"]).run(
        {i: r for i, r in items.items() if i not in done}
    )
    work.settle({"items": [done[i].wire() for i in range(len(items))]})
    return f"{sum(o.state == 'deleted' for o in done.values())} of {len(items)} deleted"
