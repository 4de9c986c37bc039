"""Which queues this worker may serve, and saying so to the fleet.

A root's queue is consumed only where the root holds what the producer saw there (its probe). A destination root is served
by two workers only if each sees a token file that the other wrote: else two hosts with folders of one name, but not one
filesystem, would each get half of a file.
"""

from __future__ import annotations

import json
import logging
import os
from typing import Any

from hugesync_tasks import __version__
from hugesync_tasks.state.base import Ledger

HEARTBEAT_MS = 20_000
TOKEN = ".hugesync-token-"
log = logging.getLogger(__name__)


class Register:
    """This worker's heartbeat, and the decision which announced queues it can serve."""

    def __init__(self, ledger: Ledger, name: str, slots: int, roots: dict[str, str], embedded: bool) -> None:
        self._ledger, self._name, self._slots, self._roots = ledger, name, slots, roots
        self._embedded = embedded
        self._serving: set[str] = set()
        self._dest_roots: set[str] = set()
        self._sees: dict[str, list[str]] = {}
        self._said: set[str] = set()

    def restarted(self) -> None:
        """The consumer lost its broker and starts anew: it consumes nothing yet."""
        self._serving.clear()

    def tick(self) -> list[str]:
        """Write the heartbeat; returns queues to consume from now on."""
        fresh: list[str] = []
        announced = self._ledger.announced()
        if announced:
            fellows = self._fellows()
            for field, needs in announced.items():
                queue = field.partition("|")[0]
                if queue not in self._serving and self._can_serve(queue, json.loads(needs), fellows):
                    self._serving.add(queue)
                    fresh += [queue, f"{queue}.commit"]
        self._ledger.heartbeat(
            self._name,
            json.dumps(
                {
                    "slots": self._slots,
                    "pid": os.getpid(),
                    "queues": ["hs.any", *sorted(self._serving)],
                    "roots": self._roots,
                    "dest_roots": sorted(self._dest_roots),
                    "sees": self._sees,
                    "version": __version__,
                }
            ),
            HEARTBEAT_MS,
        )
        return fresh

    def leave(self) -> None:
        """Take back the tokens and the heartbeat; what a kill leaves behind expires or is swept."""
        for root in self._dest_roots:
            _unlink(os.path.join(self._roots[root], TOKEN + self._name))
        self._ledger.heartbeat(self._name, "", 1)

    def _fellows(self) -> dict[str, dict[str, Any]]:
        workers = self._ledger.workers()
        return {name: json.loads(info) for name, info in workers.items() if name != self._name and info}

    def _can_serve(self, queue: str, needs: dict[str, Any], fellows: dict[str, dict[str, Any]]) -> bool:
        for root in needs.get("roots", []):
            path = self._roots.get(root["name"])
            if path is None:
                return False
            if root.get("probe") and not self._holds(path, root["probe"]):
                self._say(
                    f"root {root['name']} at {path} is not the producer's: {root['probe'][0]!r} differs or is missing"
                )
                return False
            if root.get("dest") and not self._embedded and not self._shares(root["name"], path, fellows):
                return False
        return True

    def _holds(self, path: str, probe: list[Any]) -> bool:
        try:
            found = os.lstat(os.path.join(path, os.fsdecode(bytes.fromhex(probe[3])) if len(probe) > 3 else probe[0]))
        except OSError:
            return False
        return bool(found.st_size == probe[1] and found.st_mtime_ns == probe[2])

    def _shares(self, root: str, path: str, fellows: dict[str, dict[str, Any]]) -> bool:
        self._dest_roots.add(root)
        try:
            with open(os.path.join(path, TOKEN + self._name), "w") as token:
                token.write(self._name)
            seen = [n.removeprefix(TOKEN) for n in os.listdir(path) if n.startswith(TOKEN)]
        except OSError as error:
            self._say(f"destination root {root} at {path} cannot be written: {error}")
            return False
        self._sees[root] = seen
        for dead in set(seen) - set(fellows) - {self._name}:
            _unlink(os.path.join(path, TOKEN + dead))
        for name, fellow in fellows.items():
            if root not in fellow.get("dest_roots", []):
                continue
            mutual = name in seen and self._name in fellow.get("sees", {}).get(root, [])
            serving = any(root in q for q in fellow.get("queues", []))
            if not mutual and (serving or name < self._name):
                self._say(
                    f"destination root {root}: {name} does not share this worker's filesystem (yet); leaving it to {name}"
                )
                return False
        return True

    def _say(self, sentence: str) -> None:
        if sentence not in self._said:
            self._said.add(sentence)
            log.warning("%s", sentence)


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        pass
