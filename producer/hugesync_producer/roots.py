"""Under which root names the workers have a job's local ends, and waiting for a worker that has them."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace

from hugesync_producer.fleet import described, live
from hugesync_producer.pool import Stalled
from hugesync_tasks.config import Settings
from hugesync_tasks.process import open_ledger, roots_of
from hugesync_tasks.spec import Location, Spec
from hugesync_tasks.summary import Observer

LOOK_EVERY = 0.25  # seconds
SILENT = 1.0  # seconds of waiting before a person is told

Ends = tuple[Location, Location]


def under_roots(ends: Ends, ours: Mapping[str, str], workers: Iterable[Mapping[str, str]]) -> Ends | None:
    """Local ends as (root, path below it). Pure. None where no worker has roots that hold them all.

    ``ours``: root name → path as this host has it; where it names both ends nobody else is asked. ``workers``: the same of
    each worker. One of them must have all ends, or nobody could serve the job; of several ways the one that most share.
    A name that an end has already stands as long as a worker has it: its folder may be mounted elsewhere there.
    """
    here = tuple(_below(end, ours) for end in ends)
    if here[0] is not None and here[1] is not None:
        return here[0], here[1]
    ways: Counter[Ends] = Counter()
    for roots in workers:
        found = [_with(end, named, roots) for end, named in zip(ends, here, strict=True)]
        if found[0] is not None and found[1] is not None:
            ways[found[0], found[1]] += 1
    if not ways:
        return None
    return max(ways, key=lambda way: (ways[way], -sum(len(end.path) for end in way), [end.root for end in way]))


def placed(spec: Spec, settings: Settings, observer: Observer) -> Spec:
    """The job for a fleet, its local ends named as live workers name them now. A worker that has them is waited for.

    Raises Stalled when none came within ``start_timeout``, Unreachable and Refused for a broker that cannot be used.
    """
    ends = (spec.source, spec.dest)
    if all(end.scheme != "file" for end in ends):
        return spec
    ledger = open_ledger(settings)
    try:
        ledger.check_server()
        ours, began, told = roots_of(settings), time.monotonic(), False
        while True:
            workers = live(ledger)
            found = under_roots(ends, ours, [row.get("roots", {}) for row in workers.values()])
            if found is not None:
                return replace(spec, source=found[0], dest=found[1])
            waited = time.monotonic() - began
            folders = " and ".join(end.local for end in ends if end.scheme == "file")
            if waited > spec.options.start_timeout:
                raise Stalled(
                    f"stalled: no worker has a root that holds {folders}; workers: {described(workers)}. Where workers "
                    "have it mounted elsewhere HUGESYNC_WORKER_ROOTS=NAME=PATH says which root it is"
                )
            if waited > SILENT and not told:
                told = True
                observer.on_notice(
                    f"waiting for a worker that has a root that holds {folders}; workers: {described(workers)}"
                )
            time.sleep(LOOK_EVERY)
    finally:
        ledger.close()


def seen_here(spec: Spec, ours: Mapping[str, str]) -> Spec:
    """The job with its local ends where this host has them, by their roots' names. Pure."""

    def here(end: Location) -> Location:
        if end.scheme != "file" or end.root not in ours:
            return end
        local = os.path.join(ours[end.root], end.path) if end.path else ours[end.root]
        return end if local == end.local else replace(end, local=local, shown=end.display())

    return replace(spec, source=here(spec.source), dest=here(spec.dest))


def _with(end: Location, ours: Location | None, roots: Mapping[str, str]) -> Location | None:
    """``end`` as a worker with ``roots`` has it; ``ours``: as this host names it."""
    if end.scheme != "file":
        return end
    if ours is not None:
        return ours if ours.root in roots else None
    return end if end.root in roots else _below(end, roots)


def _below(end: Location, roots: Mapping[str, str]) -> Location | None:
    """``end`` as root and path, by the longest root that holds it; a store's as it is."""
    if end.scheme != "file":
        return end
    fitting = [(path, name) for name, path in roots.items() if os.path.commonpath([path, end.local]) == path]
    if not fitting:
        return None
    path, name = max(fitting)
    below = os.path.relpath(end.local, path)
    return replace(end, root=name, path="" if below == "." else below)
