"""What a preflight found, whole: as one JSON object (``docs/preflight.md``), and applied to a job."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass, replace
from typing import Any

from hugesync_producer.preflight.estimate import Estimate
from hugesync_producer.preflight.knee import knee
from hugesync_producer.preflight.recommend import Advice
from hugesync_producer.preflight.speed import latency, moving
from hugesync_producer.preflight.values import End, Measurements, Rung
from hugesync_tasks.config import Settings
from hugesync_tasks.spec import Options

FORMAT = 1
_OF_SETTINGS = ("jobs", "part_size", "memory", "buffers_budget")  # of the advised keys, those that a person can set


@dataclass(frozen=True, slots=True)
class Report:
    """``estimated``: of a job as its options stand; ``with_auto``: of one that takes the advice. ``left``: places where
    something of the preflight may be left."""

    measured: Measurements
    advice: tuple[Advice, ...]
    estimated: Estimate
    with_auto: Estimate
    blockers: tuple[str, ...] = ()
    left: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        m = self.measured
        return {
            "format": FORMAT,
            "host": {**asdict(m.host), "usable_cpus": m.host.usable_cpus},
            "source": _end(m.source),
            "dest": _end(m.dest),
            "sizes": {**asdict(m.sizes), "files": m.sizes.files, "bytes": m.sizes.bytes},
            "recommended": {a.key: {n: v for n, v in asdict(a).items() if n != "key"} for a in self.advice},
            "estimate": _estimate(self.estimated),
            "estimate_with_auto": _estimate(self.with_auto),
            "blockers": list(self.blockers),
            "server_copy": m.server_copy,
            "notes": list(m.notes),
            "left": list(self.left),
            "measured_seconds": m.seconds,
            "measured_bytes": m.moved,
        }


def applied(
    advice: Collection[Advice], options: Options, settings: Settings
) -> tuple[Options, Settings, tuple[Advice, ...]]:
    """``--auto``: (options, settings, what of the advice was taken). What a person has set stays as it is."""
    own = {key for key in _OF_SETTINGS if key in settings.model_fields_set}
    taken = tuple(a for a in advice if a.key not in own)
    values: dict[str, Any] = {a.key: a.value for a in taken}
    if "memory" in own and values.get("part_size", 0) * 4 > options.memory:  # the parts must fit into what was set
        taken = tuple(a for a in taken if a.key != "part_size")
        values.pop("part_size")
    if "part_size" in own and "memory" in values:
        values["memory"] = max(values["memory"], options.part_size * 4)
    chosen = {k: v for k, v in values.items() if k in _OF_SETTINGS}
    of_options = {k: v for k, v in values.items() if k != "buffers_budget"}
    return replace(options, **of_options), settings.model_copy(update=chosen), taken


def _end(end: End) -> dict[str, Any]:
    found = asdict(end)
    for name in ("small", "read", "write", "copy"):
        found[name] = [_rung(r) for r in getattr(end, name)]
    found["request"] = _rung(end.request) if end.request else None
    found["listing"] = {**asdict(end.listing), "per_second": end.listing.per_second} if end.listing else None
    for name, rungs in (("read", end.read), ("write", end.write)):
        best = knee(moving(rungs, latency(end)), lambda r: r.rate)
        found[f"{name}_knee"] = best.streams if best else None
    return found


def _rung(r: Rung) -> dict[str, Any]:
    return {**asdict(r), "operations_per_second": r.per_second, "bytes_per_second": r.rate}


def _estimate(e: Estimate) -> dict[str, Any]:
    return {**asdict(e), "causes": dict(e.causes)}
