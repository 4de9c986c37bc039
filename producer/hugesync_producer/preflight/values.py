"""What a preflight measures, as plain values: whoever measures fills them, whoever decides reads them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
EDGES = (
    0,
    4 * KIB,
    64 * KIB,
    MIB,
    8 * MIB,
    16 * MIB,
    64 * MIB,
    GIB,
)  # each bucket holds sizes up to its edge; then more


@dataclass(frozen=True, slots=True)
class Interface:
    """A network interface that is up. ``speed``: bits per second, None where the system does not tell."""

    name: str
    speed: int | None


@dataclass(frozen=True, slots=True)
class Disk:
    """What a path lies on. ``kind``: "ssd" | "rotational" | "memory" | "network" | "unknown"."""

    mount: str
    filesystem: str
    device: str
    kind: str


@dataclass(frozen=True, slots=True)
class Space:
    """What a filesystem has left for this user; inodes None where it does not count them."""

    free_bytes: int
    total_bytes: int
    free_inodes: int | None


@dataclass(frozen=True, slots=True)
class Host:
    """The machine as this process may use it."""

    cpus: int  # that this process may run on
    cpu_quota: float | None  # CPUs that a cgroup allows, None without a bound
    memory_total: int
    memory_available: int  # now, for new processes
    memory_limit: int | None  # of the cgroup
    open_files: int  # per process
    interfaces: tuple[Interface, ...] = ()
    load: float | None = None  # processes that want a CPU, over the last minute
    start_seconds: float | None = None  # one interpreter with the worker's modules, from start to end

    @property
    def usable_cpus(self) -> float:
        return min(float(self.cpus), self.cpu_quota) if self.cpu_quota else float(self.cpus)


@dataclass(frozen=True, slots=True)
class Rung:
    """Operations by ``streams`` at once, none of them ever idle. Seconds of one operation: median, 99th of a hundred."""

    streams: int
    operations: int
    bytes: int
    seconds: float
    p50: float
    p99: float
    busy: float  # seconds of all operations together

    @property
    def per_second(self) -> float:
        """Operations; by how long each took, so that the last ones, which run alone, do not count as standing still."""
        return self.streams * self.operations / self.busy if self.busy else 0.0

    @property
    def rate(self) -> float:
        """Bytes per second."""
        return self.streams * self.bytes / self.busy if self.busy else 0.0


@dataclass(frozen=True, slots=True)
class Listing:
    """``complete`` false: it was ended, and there is more."""

    entries: int
    seconds: float
    complete: bool
    errors: int = 0  # entries that could not be looked at
    why: str = ""  # it failed

    @property
    def per_second(self) -> float:
        return self.entries / self.seconds if self.seconds > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Bucket:
    """Files of sizes up to ``up_to`` bytes and above the one before; None: all larger ones."""

    up_to: int | None
    files: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Histogram:
    """The files that a job would send, by size. ``complete`` false: a sample, the first of the listing's order."""

    buckets: tuple[Bucket, ...]
    complete: bool
    largest: int = 0

    @property
    def files(self) -> int:
        return sum(b.files for b in self.buckets)

    @property
    def bytes(self) -> int:
        return sum(b.bytes for b in self.buckets)

    def between(self, above: int, up_to: int | None) -> tuple[int, int]:
        """(files, bytes) of sizes > ``above`` and ≤ ``up_to``. A bucket that an edge cuts counts where its mean size lies."""
        files = size = 0
        for b in self.buckets:
            mean = b.bytes / b.files if b.files else 0
            if b.files and mean > above and (up_to is None or mean <= up_to):
                files, size = files + b.files, size + b.bytes
        return files, size


@dataclass(frozen=True, slots=True)
class End:
    """What one end was seen to do. Each ladder is empty where nothing could be measured; ``notes`` say why.

    ``small``: 4 KiB in one operation: read (a source), written and durable (a destination). ``read``, ``write``: chunks of
    a quarter to several MiB, at 1, 2, 4, 8 streams. ``copy``: the same, by the store itself out of the source. ``request``: one question about a name where nothing is.
    """

    place: str
    store: str
    remote: bool
    min_part: int = 5 * MIB
    max_parts: int = 10_000
    request: Rung | None = None
    small: tuple[Rung, ...] = ()
    read: tuple[Rung, ...] = ()
    write: tuple[Rung, ...] = ()
    copy: tuple[Rung, ...] = ()
    listing: Listing | None = None
    disk: Disk | None = None
    space: Space | None = None
    blockers: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Measurements:
    """One preflight. ``moved``: bytes that measuring read and wrote."""

    host: Host
    source: End
    dest: End
    sizes: Histogram
    seconds: float = 0.0
    moved: int = 0
    server_copy: bool = False  # the store copies by itself, and no byte passes through here
    single_host: bool = True  # False: a fleet does the job, and this is what one of its hosts sees, the submitting one
    notes: tuple[str, ...] = field(default=())


def histogram(sizes: Sequence[tuple[int, int, int]], complete: bool, largest: int) -> Histogram:
    """``sizes``: (bucket's index, files, bytes)."""
    files, total = [0] * (len(EDGES) + 1), [0] * (len(EDGES) + 1)
    for index, n, size in sizes:
        files[index] += n
        total[index] += size
    edges: list[int | None] = [*EDGES, None]
    return Histogram(tuple(map(Bucket, edges, files, total)), complete, largest)
