"""The contract of the ledger (``docs/ledger.md`` holds the key schema): what is in flight, and nothing else.

Every method is one atomic step and may be repeated: a lost reply followed by a repeat changes nothing further, except
that ``claim`` may then answer BUSY until the lease of the lost claim has expired, that traffic is counted at least once,
and that the events of a lost reply are gone (they are hints). Errors: ``Unreachable``, ``Refused``; ``UsageError`` for
a wrong URL or credentials. Times are the server's own; leases are in ms.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from hugesync_tasks import bucket
from hugesync_tasks.aimd import Grant, Report
from hugesync_tasks.model import Part
from hugesync_tasks.state.load import Load

Traffic = Mapping[str, int]
# what of a renewal's traffic is payload that moved
CARRIED = ("bytes.sent", "bytes.received", "bytes.copied_server_side")
TOLD_MS = 3_600_000  # how a job stood is kept so long
SHARES_MS = 10_000  # the same of its stake in the workers
EVERYONE = "*"  # of whom slots are wished
AS_PLANNED = -1


class Claimed(StrEnum):
    OK = "OK"
    GONE = "GONE"
    BUSY = "BUSY"
    CANCELLED = "CANCELLED"
    POISON = "POISON"


class Renewed(StrEnum):
    OK = "OK"
    LOST = "LOST"
    CANCELLED = "CANCELLED"


class TakenUp(StrEnum):
    OK = "OK"
    LED = "LED"  # somebody leads it
    ENDED = "ENDED"  # it does not run
    LATER = "LATER"  # the last try was a moment ago
    WORN = "WORN"  # every try of so many ended, and K never moved


class PartAnswer(StrEnum):
    FENCED = "FENCED"
    MISMATCH = "MISMATCH"
    MORE = "MORE"
    ALL = "ALL"


@dataclass(frozen=True, slots=True)
class Task:
    """What the coordinator puts and a worker claims."""

    id: str
    kind: str  # batch | begin | part | commit | folders | delete
    queue: str
    seq: int
    payload: str  # JSON, no secrets
    file: str = ""
    cost: int = field(default=0, compare=False)  # bytes that it is about, for the coordinator alone


@dataclass(frozen=True, slots=True)
class Claim:
    answer: Claimed
    task: Task | None = None
    attempt: int = 0  # the fence
    receipts: Mapping[int, Any] = field(default_factory=dict)
    file: Mapping[str, str] = field(default_factory=dict)  # the ``f:`` record, for begin, part and commit
    given: int = 0  # earlier attempts that gave the task back; they do not count against ``max_attempts``

    @property
    def counted(self) -> int:
        """Attempts before this one that came to nothing."""
        return self.attempt - 1 - self.given


@dataclass(frozen=True, slots=True)
class TaskStatus:
    """For re-dispatch. ``state`` is "queued", "running", "recalled", or "" where there is no record."""

    state: str
    seq: int = 0
    lease_left_ms: int = 0  # of running; negative = expired
    running_ms: int = 0  # since the last claim
    attempts: int = 0
    moved: int = 0  # payload bytes that the renewals of this attempt told of; one that is read and sent counts twice


@dataclass(frozen=True, slots=True)
class Event:
    task: str
    outcome: Mapping[str, Any]


class Ledger(Protocol):
    # jobs
    def check_server(self) -> None:
        """Refused where ``maxmemory-policy`` evicts; Unreachable where nobody answers within 5 s."""

    def open_job(self, job: str, spec: str) -> None:
        """Store the specification and list the job as started now. ``meta`` stays as it is: whoever resumes a cancelled
        job clears it with ``set_meta(job, cancel="0")``."""

    def spec(self, job: str) -> str | None: ...
    def jobs(self) -> list[tuple[str, float]]:
        """Id and start (s since the epoch), the newest first."""

    def meta(self, job: str) -> dict[str, str]: ...
    def set_meta(self, job: str, **fields: str) -> None: ...
    def cancel(self, job: str) -> None: ...
    def forget_job(self, job: str, history: bool = True) -> None:
        """Delete all keys of the job; with ``history`` keep ``spec`` and ``meta``."""

    def put_names(self, job: str, blocks: Iterable[bytes]) -> None:
        """Keep the list of names that the job was given, in place of one that is there; it goes with the job's work."""

    def names(self, job: str) -> Iterator[bytes]:
        """The blocks of that list in order; none where there is none."""

    # leadership, checkpoint, destination lock
    def lead(self, job: str, owner: str, lease_ms: int) -> bool:
        """Take the coordinator's lease; False = another holds it."""

    def keep_lead(self, job: str, owner: str, lease_ms: int) -> bool:
        """Renew it, also where it ran out or the ledger lost it; False = another holds it, or has led the job since."""

    def leader(self, job: str) -> str:
        """The owner of the coordinator's lease; "" where nobody leads."""

    def step_down(self, job: str, owner: str) -> None: ...
    def offer(self, job: str, needs: str) -> None:
        """The job wants a coordinator until it is withdrawn; ``needs``: what that one must see (JSON)."""

    def withdraw(self, job: str) -> None: ...
    def leaderless(self) -> dict[str, str]:
        """Job -> needs of each that is offered and has no leader now."""

    def take_up(self, job: str, owner: str, lease_ms: int, most: int, wait_ms: tuple[int, int]) -> TakenUp:
        """Take the lease of a running job that nobody leads, for a coordinator that is to be started under ``owner``. At most
        ``most`` tries without progress of K; between two of them ``wait_ms[0]``, doubled each time up to ``wait_ms[1]``."""

    def take_over(self, job: str, owner: str) -> int:
        """Drop the dead coordinator's tasks, receipts and events (``f:`` and ``p:`` stay); returns the new epoch,
        greater than every earlier one even where the ledger has lost its data since: it is the server's time in ms.
        Refused to whoever does not hold the coordinator's lease."""

    def checkpoint(self, job: str, owner: str, key: str, counters: str, failures: str) -> bool: ...
    def read_checkpoint(self, job: str) -> tuple[str, str, str] | None: ...
    def tell(self, job: str, latest: str) -> None:
        """Say how the job stands now, for whoever asks; it is kept for ``TOLD_MS``."""

    def told(self, job: str) -> tuple[str, float] | None:
        """What was told last, and its age in seconds."""

    def lock(self, destination: str, job: str, lease_ms: int) -> str:
        """Take or renew; returns the id of the job that holds the lock (the caller's own = success)."""

    def unlock(self, destination: str, job: str) -> None: ...

    # tasks
    def put_tasks(self, job: str, tasks: Iterable[Task]) -> None:
        """Each becomes ``queued`` (attempts and receipts kept), unless it runs under a lease that has not expired."""

    def recall(self, job: str, tasks: list[str]) -> list[str]:
        """Take back those that nobody has begun; they are answered, also by a repeat. A claim finds them GONE until they are put
        again, attempts and receipts kept. What runs, or ran under a lease that has expired, is left as it is."""

    def task(self, job: str, task: str) -> tuple[Task, Mapping[str, str]] | None:
        """The task and the record of its file ({} where there is none), None where it is gone. Changes nothing. Answers within
        a second or two or raises Unreachable: it is asked where others wait."""

    def claim(self, job: str, task: str, owner: str, lease_ms: int, max_attempts: int) -> Claim:
        """OK and POISON make the caller the owner of a new attempt; all other answers change nothing."""

    def renew(self, job: str, task: str, fence: int, lease_ms: int, traffic: Traffic) -> Renewed:
        """LOST changes nothing. An attempt whose lease had expired gets it back if no other attempt began meanwhile."""

    def receipts(
        self, job: str, task: str, fence: int, items: Mapping[int, Any], lease_ms: int, traffic: Traffic
    ) -> Renewed:
        """``renew`` that also records finished files of a batch; they are recorded when it answers CANCELLED, too."""

    def give_back(self, job: str, task: str, fence: int, traffic: Traffic) -> bool:
        """The attempt ends here, unfinished: whoever is sent the task may begin at once, its receipts stand, and the attempt is
        not counted. False, and nothing changed, where the task is gone or a later attempt has begun."""

    def settle(
        self,
        job: str,
        task: str,
        outcome: Mapping[str, Any],
        traffic: Traffic,
        close_file: str = "",
        fence: int | None = None,
    ) -> bool:
        """False, and nothing changed, where the task is gone, or a ``fence`` is given and a later attempt has begun."""

    def statuses(self, job: str, tasks: list[str]) -> list[TaskStatus]: ...
    def finished(self, job: str, known: Mapping[str, int]) -> dict[str, dict[int, Any]]:
        """Of each batch that has more receipts than are ``known`` of it: all of them. Those of a settled one are gone."""

    def events(self, job: str, timeout: float, most: int = 1000) -> list[Event]:
        """Wait at most ``timeout`` s for an event, then take what is there."""

    # large files
    def set_upload(self, job: str, file: str, fields: Mapping[str, str], of_task: bool = False) -> dict[str, str]:
        """``fields`` has at least gen, upload, total. Returns the record that stands: the present one where its gen is
        the same and it names an upload, else the caller's (and the old receipts are gone; notes stay where the gen does).
        ``of_task``: a task, not the coordinator, says so; where the job has no tasks (any more) it records nothing ({} = none stands)."""

    def file(self, job: str, file: str) -> dict[str, str]: ...
    def parts(self, job: str, file: str) -> dict[int, Part]: ...
    def put_parts(self, job: str, file: str, gen: str, parts: Iterable[Part], upload: str = "") -> bool:
        """Receipts of adopted parts; False when the record is of another generation (or, where given, upload)."""

    def part_done(
        self, job: str, task: str, file: str, gen: str, part: Part, traffic: Traffic, upload: str = ""
    ) -> PartAnswer:
        """Receipt, settling and the event ``{"part": wire, "answer": ...}`` in one step. FENCED (another generation, or
        another upload than the one given) and MISMATCH (other bytes than the receipt's: another size or CRC64; where
        a CRC64 is unknown, another ETag) change nothing. A repeat answers the same and pushes no second event."""

    def put_notes(self, job: str, file: str, gen: str, notes: Mapping[str, bytes]) -> bool:
        """What the tasks of one file leave for each other, by name; False, and nothing kept, where the record is of another
        generation (or gone). They go with the file's record."""

    def notes(self, job: str, file: str, names: Sequence[str]) -> list[bytes | None]:
        """The notes of these names, None for each that is not there (any more)."""

    def close_file(self, job: str, file: str, unbegun: str = "") -> None: ...  # ``unbegun``: a gen
    def open_files(self, job: str) -> list[str]:
        """The files that have a record: their upload is begun, or about to be, and no commit of it has settled."""

    # traffic, workers, announcements
    def traffic(self, job: str) -> dict[str, int]: ...
    def add_traffic(self, job: str, traffic: Traffic) -> None: ...
    def heartbeat(self, worker: str, info: str, lease_ms: int) -> None: ...
    def workers(self, heard_within_ms: int | None = None) -> dict[str, str]:
        """Worker -> info of each whose heartbeat stands; with ``heard_within_ms`` only of those heard from since then: a killed
        one's heartbeat stands for a while."""

    # shares of the workers
    def share(self, job: str, row: str, head: str = "") -> dict[str, tuple[str, float]]:
        """Tell the job's stake in the workers ("" = it leaves) and, where nothing of it runs, its oldest task that waits; answers
        the rows of all jobs, each with its age in seconds. A row is kept for ``SHARES_MS`` after it was told last."""

    def heads(self) -> dict[str, str]:
        """Job -> what ``share`` told as its head, of each that has one."""

    def wish_slots(self, whom: str, slots: int) -> None:
        """What a person wants of a worker, of a host's workers, or of ``EVERYONE``, which takes back what was wanted of single
        ones: so many child processes, 0 = none takes a task, ``AS_PLANNED`` = what each finds right."""

    def wished_slots(self) -> dict[str, int]: ...

    # rates
    def share_rate(self, place: str, sharer: str, report: Report) -> Grant:
        """How fast the process ``sharer`` may ask the store at ``place`` (``aimd``); what every process tells of it counts
        together. Answers within a second or two or raises Unreachable: requests wait for it. A repeat counts twice."""

    def draw(self, job: str, sharer: str, need: int, busy: bool, of: str = "bwlimit") -> bucket.Grant:
        """Bytes of the job's bandwidth (``bwlimit`` of its ``meta``, bytes per second, 0 = no limit), or requests (``of``:
        ``tpslimit``) for the process ``sharer``: ``need``, of a ``busy`` one somewhat more (``bucket``). Answers within a second or
        two or raises Unreachable: bytes wait for it. A repeat draws twice."""

    def draw_at(self, endpoint: str, prefix: str, sharer: str, need: int, busy: bool, of: str) -> bucket.Grant:
        """The same of what all jobs may use at one endpoint; of ``tpslimit`` there is a bucket for each ``prefix``."""

    def limit_endpoint(self, endpoint: str, said: Mapping[str, str]) -> None:
        """Write limits of an endpoint (``caps``; 0 = none any more), for all jobs; what is not said stays."""

    def endpoints(self) -> dict[str, dict[str, str]]:
        """Endpoint -> its limits, of each that has or had any."""

    def announce(self, queue: str, needs: str) -> None: ...
    def retract(self, queue: str) -> None: ...
    def announced(self) -> dict[str, str]: ...
    def queue_length(self, queue: str) -> int: ...
    def load(self) -> Load:
        """What all jobs have to do, and who is there for it; on Redis as of at most ``LOAD_MS`` ago, however many ask."""

    def close(self) -> None: ...


def expire_leases(ledger: Ledger, job: str, tasks: list[str]) -> None:
    """Let the leases of running ``tasks`` run out now: the processes that held them are known to be dead. Should one of them
    live after all, its next renewal takes the lease back."""
    for task, status in zip(tasks, ledger.statuses(job, tasks), strict=True):
        if status.state == "running":
            ledger.renew(job, task, status.attempts, 1, {})
