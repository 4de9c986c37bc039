"""The job's specification: everything a worker or another coordinator needs, and no secret.

It lies in Redis (and embedded in ``job.json``) as JSON. Profiles are names; every process resolves them from its own
files.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Any

from hugesync_tasks.names import display_name

RULES_VERSION = 2  # of part planning; part of a generation


@dataclass(frozen=True, slots=True)
class Location:
    """One end of a job. Local: ``root`` names a worker's root and ``path`` is relative to it; ``local`` is where the
    producer sees the whole. Stores: bucket and prefix (no leading slash; "" or ending in ``/``)."""

    scheme: str  # "file" | "s3" | "gs" | "az"
    bucket: str = ""
    prefix: str = ""
    root: str = ""
    path: str = ""
    local: str = ""
    shown: str = ""  # ``local`` as the submitter has it, where this process has the folder elsewhere
    profile: str = ""
    endpoint: str = ""  # for people and for equality only; processes resolve their own

    def identity(self) -> str:
        """What names this place and no other: equal buckets of two endpoints are two places. For ids; what locks are taken by
        says ``uri.lock_name``."""
        return f"{self.display()} at {self.endpoint}" if self.endpoint else self.display()

    def display(self) -> str:
        return self.shown or self.local if self.scheme == "file" else f"{self.scheme}://{self.bucket}/{self.prefix}"

    def display_of(self, key: str) -> str:
        """What ``key`` names here, for people; "" is the place itself."""
        place = self.display()
        return f"{place}{'' if place.endswith('/') else '/'}{display_name(key)}" if key else place


@dataclass(frozen=True, slots=True)
class Rules:
    """How source and destination are compared (the decision), pure data."""

    modify_window_ns: int = 0
    size_only: bool = False
    checksum: bool = False
    update: bool = False
    ignore_existing: bool = False
    existing: bool = False
    ignore_times: bool = False


@dataclass(frozen=True, slots=True)
class Selection:
    """What of the source takes part; part of the job's identity. ``filters`` are (flags, pattern) in order:
    ``hugesync_producer.filterrules``."""

    filters: tuple[tuple[str, str], ...] = ()
    min_size: int | None = None
    max_size: int | None = None
    links: str = "keep"  # keep | follow | skip
    listed: str = ""  # digest of the list of names that were given; "" = none was, and everything is looked at


@dataclass(frozen=True, slots=True)
class Options:
    """How the work is done."""

    jobs: int = 0  # 0 = by the workers' slots
    metadata: bool = True
    owner: bool = False
    dir_metadata: bool = False
    storage_class: str | None = None
    sse_kms_key: str | None = None
    retries: int = 5
    max_duration: float = 0.0  # seconds after which a run stops, to be resumed; 0 = never
    retry_max_wait: float = 0.0  # seconds between two attempts at one request, at most; 0 = as the store asks
    conflict_retries: int = 3
    on_conflict: str = "retry"  # retry | skip | keep-both | fail
    unsafe_no_conflict_check: bool = False
    memory: int = 512 << 20
    small_file: int = 8 << 20
    batch_files: int = 512
    batch_bytes: int = 64 << 20
    part_size: int = 16 << 20
    stall_timeout: float = 1800.0
    start_timeout: float = 15.0  # seconds in which the first worker must come
    bwlimit: int = (
        0  # bytes per second, of all processes; 0 = none. As submitted: ``meta`` of the ledger has what holds now
    )
    weight: int = 1  # among jobs on the same workers. As submitted, like the two around it
    tpslimit: float = 0.0  # requests per second, of all processes; 0 = none
    whole_file: bool | None = None  # None: whole between two folders, else a delta where there is a basis
    delta_threshold: int = 50 << 20  # bytes; no delta and no signature up to here
    block_size: int = 0  # bytes per block of a signature; 0 = by the file's size
    signature_missing: str = "auto"  # auto | generate | full
    sidecars: bool = True
    sidecar_prefix: str = ""  # "" or ends in /
    inplace: bool = False  # a delta is written into the file that is there
    estimate: bool = False  # of a dry run: deltas are guessed, not computed
    delete: bool = False  # what only the destination has is removed, after everything else
    delete_excluded: bool = False  # what the selection leaves out is removed as well
    max_delete: str = "10%"  # N, or P% of the destination's entries; more is refused
    backup_dir: str = (
        ""  # ends in /; where, below the destination's root, lies what was overwritten or deleted; "" = nowhere
    )
    verify: str = "none"  # none | transferred | all: what is compared beyond what the stores prove themselves


@dataclass(frozen=True, slots=True)
class Spec:
    """One job."""

    job: str
    source: Location
    dest: Location
    single_file: str = ""  # SOURCE is one file: its key at the destination; "" = a tree
    single_source: str = ""  # and its key at the source
    rules: Rules = field(default_factory=Rules)
    selection: Selection = field(default_factory=Selection)
    options: Options = field(default_factory=Options)
    source_limits: dict[str, Any] = field(default_factory=dict)  # as probed by the producer
    dest_limits: dict[str, Any] = field(default_factory=dict)
    dry_run: bool = False
    until: float = 0.0  # when the run that was begun last stops (``max_duration``), seconds since the epoch; 0 = never
    sample: float | None = None  # of a job that only compares: percent of the files whose contents are; None: a sync
    map_digest: str = (
        ""  # of the names that ``--map`` gives what the source holds; "" = it keeps its own. The rows lie with the job
    )
    one_way: bool = False  # of a job that only compares: what only the destination has is not looked for

    @property
    def compares(self) -> bool:
        """Whether the job only compares both ends, and writes nothing."""
        return self.sample is not None

    def shown(self) -> tuple[str, str]:
        """Both ends for people: of a single file the file, not the folder that it lies in."""
        return self.source.display_of(self.single_source), self.dest.display_of(self.single_file)

    def wire(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def unwire(cls, w: dict[str, Any]) -> Spec:
        nested = {"source": Location, "dest": Location, "rules": Rules, "selection": Selection, "options": Options}
        known = {f.name for f in fields(cls)}
        args = {k: _build(nested[k], v) if k in nested else v for k, v in w.items() if k in known}
        return cls(**args)


def _build(cls: Any, w: dict[str, Any]) -> Any:
    known = {f.name for f in fields(cls)}
    args = {k: v for k, v in w.items() if k in known}
    if cls is Selection:
        args["filters"] = tuple((a, b) for a, b in args.get("filters", ()))
    return cls(**args)
