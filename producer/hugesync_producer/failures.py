"""What failed in a job: every failure that is recorded, and how many more there were."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from hugesync_producer import human
from hugesync_producer.jobs import status
from hugesync_tasks.config import Settings
from hugesync_tasks.redact import redact
from hugesync_tasks.summary import FAILURES_KEPT


def failures_of(job_id: str, settings: Settings, classes: Collection[str] = ()) -> dict[str, Any]:
    """``job_id``, ``state``, ``failures`` (path, class, message; of ``classes``, or all), ``failures_omitted``: how many more the
    job counted, of whatever class, and ``failures_kept``: the most that a job records. Of a running job as of its last
    checkpoint. Raises UsageError for a job that nobody knows."""
    found = status(job_id, settings)
    return {
        "job_id": job_id,
        "state": found["state"],
        "failures": [f for f in found["failures"] if not classes or f["class"] in classes],
        "failures_omitted": found["failures_omitted"],
        "failures_kept": FAILURES_KEPT,
    }


def lines(found: Mapping[str, Any], classes: Collection[str] = ()) -> Iterator[str]:
    """``failures_of`` for people."""
    failures = found["failures"]
    for f in failures:
        message = human.plain(redact(f["message"])).replace("\n", " ")
        yield f"{human.failure(f['class']):<14} {human.name(f['path'])}: {message}"
    by_class = Counter(f["class"] for f in failures)
    which = ", ".join(f"{name} {human.count(n)}" for name, n in sorted(by_class.items()))
    if failures:
        yield f"{human.counted(len(failures), 'failure')} ({which})"
    else:
        yield f"job {found['job_id']} has recorded no failure" + (
            f" of class {' or '.join(classes)}" if classes else ""
        )
    if found["failures_omitted"]:
        more = human.count(found["failures_omitted"])
        yield f"{more} more were counted and not recorded: a job keeps {human.count(found['failures_kept'])}"
