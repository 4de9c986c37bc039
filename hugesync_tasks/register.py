"""Which queues this worker may serve, and saying so to the fleet.

A root's queue is consumed only where the root holds what the producer saw there (its probe). A destination root is served
by two workers only if each sees a token file that the other wrote: else two hosts with folders of one name, but not one
filesystem, would each get half of a file.
"""

from __future__ import annotations

import json
import logging
import os
import re
import socket
import time
from typing import Any

from hugesync_tasks import __version__
from hugesync_tasks.state.base import Ledger

HEARTBEAT_MS = 20_000
TOKEN = ".hugesync-token-"
MARK = ".hugesync-job-"  # the producer's, at the top of a destination root while its job runs
MARK_LIVES = 3600.0  # seconds: that of a job which nobody announces any more was left by a killed producer
FIRST_PIDS = 0xEFFFFFFC  # the kernel's number of the process ids that no container has
log = logging.getLogger(__name__)


def own_name(pid: int = 0) -> str:
    """This worker (of a child: the one whose main process is ``pid``) among all of a fleet: host and pid; in a container also its own namespace of pids. Containers that use the host's
    network have the host's name, and each of them begins to count pids at 1."""
    try:
        found = re.fullmatch(r"pid:\[(\d+)\]", os.readlink("/proc/self/ns/pid"))
    except OSError:  # no Linux, or no /proc
        found = None
    inside = f".{found[1]}" if found and int(found[1]) != FIRST_PIDS else ""
    return f"{socket.gethostname()}{inside}-{pid or os.getpid()}"


def known_as(name: str) -> tuple[str, ...]:
    """What a person may call the worker ``name``: that, or its host, with or without a container's namespace."""
    place = name.rpartition("-")[0]
    return tuple(dict.fromkeys((name, place, re.sub(r"\.\d+$", "", place))))


class Register:
    """This worker's heartbeat, and the decision which announced queues it can serve."""

    def __init__(self, ledger: Ledger, name: str, slots: int, roots: dict[str, str], embedded: bool) -> None:
        self.ledger = ledger
        self.name, self.roots = name, roots
        self.declines: dict[str, str] = {}  # job that nobody leads -> why no coordinator of it can be started here
        self.slots = slots  # child processes that take tasks now
        self.paused = False  # by a person
        self._embedded = embedded
        self._serving: set[str] = set()
        self._proven: set[str] = set()  # announcements whose probes were found here; a source may change afterwards
        self._sees: dict[str, list[str]] = {}  # destination root in use → whose tokens lie in it
        self._others: dict[str, set[str]] = {}  # one that no job uses any more → whose tokens still lay in it
        self._unwritable: dict[str, str] = {}  # destination root → why no token could be left in it
        self._shown: set[str] = set()  # destination roots that the last heartbeat named
        self._refuses: dict[str, str] = {}  # announced queue → why it is not served here, unless for want of the root
        self._said: set[str] = set()

    def restarted(self) -> None:
        """The consumer lost its broker and starts anew: it consumes nothing yet."""
        self._serving.clear()

    def tick(self) -> tuple[list[str], list[str]]:
        """Write the heartbeat; returns queues to consume from now on, and queues to consume no longer.

        A queue is left when a further job on it shows that the root is not what that job's producer sees; a queue that
        nobody announces any more is kept, for the next job."""
        jobs = [(field, json.loads(needs)) for field, needs in self.ledger.announced().items()]
        fellows = self.fellows() if jobs or self._sees or self._others else {}
        roots = [r for _, needs in jobs for r in needs.get("roots", []) if r.get("dest")]
        self._tokens({r["name"] for r in roots}, {r["mark"] for r in roots if r.get("mark")}, fellows)
        able: dict[str, bool] = {}
        self._refuses.clear()
        for field, needs in jobs:
            queue = field.rpartition("|")[0]
            obstacle = self._obstacle(field, queue, needs, fellows) if able.get(queue, True) else None
            able[queue] = able.get(queue, True) and obstacle is None
            if obstacle:
                self._refuses[queue] = obstacle
                self._say(obstacle)
        self._proven &= {_proof(field, needs) for field, needs in jobs}
        fresh = [q for q, can in able.items() if can and q not in self._serving]
        left = [q for q, can in able.items() if not can and q in self._serving]
        self._serving = (self._serving | set(fresh)) - set(left)
        self.ledger.heartbeat(self.name, json.dumps(self._row()), HEARTBEAT_MS)
        self._shown = set(self._sees)
        return [n for q in fresh for n in (q, f"{q}.commit")], [n for q in left for n in (q, f"{q}.commit")]

    def leave(self) -> None:
        """Take back the tokens and the heartbeat; what a kill leaves behind expires or is swept."""
        for root in self._sees:
            _unlink(os.path.join(self.roots[root], TOKEN + self.name))
        self.ledger.heartbeat(self.name, "", 1)

    def _row(self) -> dict[str, Any]:
        return {
            "slots": self.slots,
            "paused": self.paused,
            "pid": os.getpid(),
            "queues": ["hs.any", *sorted(self._serving)],
            "refuses": self._refuses,
            "roots": self.roots,
            "declines": self.declines,
            "dest_roots": sorted(self._sees),
            "sees": self._sees,
            "version": __version__,
        }

    def fellows(self) -> dict[str, dict[str, Any]]:
        """The other workers whose heartbeat stands, with their rows."""
        workers = self.ledger.workers()
        return {name: json.loads(info) for name, info in workers.items() if name != self.name and info}

    def _obstacle(
        self, field: str, queue: str, needs: dict[str, Any], fellows: dict[str, dict[str, Any]]
    ) -> str | None:
        """Why this worker cannot serve an announced queue; "" where nothing is to be said of it; None where it can."""
        proof = _proof(field, needs)
        for root in needs.get("roots", []):
            path = self.roots.get(root["name"])
            if path is None:
                return ""
            if root.get("probe") and proof not in self._proven and not holds(path, root["probe"]):
                return (
                    f"root {root['name']} at {path} is not the producer's: {root['probe'][0]!r} differs or is missing"
                )
            if root.get("mark") and proof not in self._proven and not os.path.lexists(os.path.join(path, root["mark"])):
                return f"destination root {root['name']} at {path} is not the producer's: {root['mark']} is missing"
            if root.get("dest") and queue not in self._serving:
                obstacle = self._stranger(root["name"], path, fellows)
                if obstacle is not None:
                    return obstacle
        self._proven.add(proof)
        return None

    def _tokens(self, wanted: set[str], marks: set[str], fellows: dict[str, dict[str, Any]]) -> None:
        """Leave our token in every destination root of ours that a job uses, look whose are there, sweep what the dead left."""
        if self._embedded:
            return
        for root in set(self._sees) - wanted:
            _unlink(os.path.join(self.roots[root], TOKEN + self.name))
            self._others[root] = {*self._sees.pop(root)} - {self.name}
        for root in [*self._others]:  # of those that were killed the heartbeats lapse later than a short job ends
            for dead in self._others[root] - set(fellows):
                _unlink(os.path.join(self.roots[root], TOKEN + dead))
            self._others[root] &= set(fellows)
            if root in wanted or not self._others[root]:
                del self._others[root]
        for root in sorted(wanted & set(self.roots)):
            path = self.roots[root]
            self._unwritable.pop(root, None)
            try:
                with open(os.path.join(path, TOKEN + self.name), "w") as token:
                    token.write(self.name)
                names = os.listdir(path)
            except OSError as error:
                self._unwritable[root] = f"destination root {root} at {path} cannot be written: {error.strerror}"
                self._sees.pop(root, None)
                continue
            seen = [n.removeprefix(TOKEN) for n in names if n.startswith(TOKEN)]
            for dead in set(seen) - set(fellows) - {self.name}:  # one that just starts writes its own again
                _unlink(os.path.join(path, TOKEN + dead))
            for mark in {n for n in names if n.startswith(MARK)} - marks:
                _unlink_old(os.path.join(path, mark))
            self._sees[root] = sorted(seen)

    def _stranger(self, root: str, path: str, fellows: dict[str, dict[str, Any]]) -> str | None:
        """Why a destination root is not to be served beside the others, as ``_obstacle``."""
        if self._embedded:
            return None
        if root not in self._sees or root not in self._shown:
            return self._unwritable.get(
                root, ""
            )  # the others must have had a chance to see us, or two could begin at the same instant
        for name, fellow in fellows.items():
            serving = any(root in q.removeprefix("hs.").split("+") for q in fellow.get("queues", []))
            if root not in fellow.get("dest_roots", []) and not serving:
                continue
            mutual = name in self._sees[root] and self.name in fellow.get("sees", {}).get(root, [])
            if not mutual and (serving or name < self.name):
                return (
                    f"destination root {root} at {path}: {name} does not share this worker's filesystem (yet); "
                    f"leaving it to {name}"
                )
        return None

    def _say(self, sentence: str) -> None:
        if sentence not in self._said:
            self._said.add(sentence)
            log.warning("%s", sentence)


def holds(path: str, probe: list[Any]) -> bool:
    """Whether the root at ``path`` has the file of ``probe``: key, size, mtime (ns), and its place below the root (hex)."""
    try:
        # followed: with --copy-links the entry that was planned is what a link points to
        found = os.stat(os.path.join(path, os.fsdecode(bytes.fromhex(probe[3])) if len(probe) > 3 else probe[0]))
    except OSError:
        return False
    return bool(found.st_size == probe[1] and found.st_mtime_ns == probe[2])


def _proof(field: str, needs: dict[str, Any]) -> str:
    """One announcement, with the probes it was made with."""
    return f"{field} {json.dumps(needs)}"


def _unlink_old(path: str) -> None:
    try:
        if time.time() - os.lstat(path).st_mtime > MARK_LIVES:
            os.unlink(path)
    except OSError:
        pass


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        pass
