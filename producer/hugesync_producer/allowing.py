"""Limits as people read them, and what of the fleet's a coordinator must keep to."""

from __future__ import annotations

from collections.abc import Iterator

from hugesync_producer import human
from hugesync_tasks.caps import Caps
from hugesync_tasks.config_units import show_rate, show_requests


def changed(before: Caps, caps: Caps) -> Iterator[str]:
    """What is another, each as the beginning of a sentence that ends in "now"."""
    if caps.bwlimit != before.bwlimit:
        yield f"the bandwidth limit is {show_rate(caps.bwlimit)}"
    if caps.tpslimit != before.tpslimit:
        yield f"the limit of requests is {show_requests(caps.tpslimit)}"
    if caps.jobs != before.jobs:
        yield (
            f"at most {caps.jobs} tasks are in flight"
            if caps.jobs
            else "the tasks in flight are as many as workers have slots"
        )
    if caps.weight != before.weight:
        yield f"the weight is {caps.weight}"


def lines(caps: Caps) -> Iterator[str]:
    """What holds, for people; nothing of what does not."""
    if caps.bwlimit:
        yield f"Limited to {human.rate(caps.bwlimit)} (--bwlimit)"
    if caps.tpslimit:
        yield f"Limited to {show_requests(caps.tpslimit)} (--tpslimit)"
    if caps.jobs:
        yield f"At most {human.counted(caps.jobs, 'task')} in flight (--jobs)"
    if caps.weight != 1:
        yield f"Weight {caps.weight} among jobs on the same workers (--weight)"
