"""One large file as the coordinator sees it: begin, parts as the window allows, commit; or abandon and look again."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping
from typing import Any

from hugesync_tasks.model import Outcome, Part, Transfer
from hugesync_tasks.state.base import Task


class LargeFileUnit:
    """A small state machine; pure but for its own fields. ``next_task`` says what to send, ``on_event`` what came of it.

    States: begin → (steps of a delta: sign, match, lay →) parts → commit → ended; any failure → abandon → ended. Of a
    comparison (its transfer is to be checked): begin → steps (compare, conclude) → ended.
    ``outcome`` is set when ended. ``whole``: why it must not go as a delta (any more).
    """

    def __init__(self, file: str, transfer: Transfer, queue: str, commit_queue: str, conflicts: int = 0) -> None:
        self.file = file
        self.transfer = transfer
        self.tries = 0
        self.conflicts = conflicts
        self.whole = ""
        self._left: dict[str, str] = {}  # the upload of a try that ended without tidying up: the ledger had lost it
        self._queue, self._commit_queue = queue, commit_queue
        self._reset("begin")

    def _reset(self, state: str) -> None:
        self.state = state
        self.outcome: Outcome | None = None
        self.fields: dict[str, str] = {}
        self.receipts: dict[int, Part] = {}
        self._listed: dict[int, Part] = {}
        self._todo: deque[int] = deque()
        self._steps: deque[tuple[str, int]] = deque()  # of a delta: what is to be done, and by how many tasks
        self._unsettled: set[int] = set()  # of the step at hand: its ranges
        self.out: set[str] = set()
        self._sent = False  # the begin, commit or abandon of this state

    def again(self, transfer: Transfer) -> None:
        """Plan it anew, against what was found there now."""
        self.transfer = transfer
        self.tries += 1
        self._reset("begin")

    def give_up(self, outcome: Outcome) -> bool:
        """It will not be planned again. Whether something is left that has to be abandoned first; then it ends with ``outcome``."""
        if not self._left:
            return False
        fields, self._left = self._left, {}
        self._reset("abandon")
        self.fields, self.outcome = fields, outcome
        return True

    @property
    def moved(self) -> int:
        return sum(p.size for p in self.receipts.values())

    @property
    def waiting(self) -> bool:
        """Whether ``next_task`` has something to send. An upload is abandoned only when none of its parts is out: a late
        one must not meet the next try's tasks of the same name."""
        if self.state in ("parts", "steps"):
            return bool(self._todo)
        if self.state == "abandon" and self.out and not self._sent:
            return False
        return not self._sent and self.state != "ended"

    @property
    def first_wave(self) -> bool:
        """Commits and abandons go before other work: they free what is in flight."""
        return self.state in ("commit", "abandon")

    def next_task(self) -> Task | None:
        """The next message of this file, or None while it waits for answers."""
        if not self.waiting:
            return None
        if self.state == "parts":
            number = self._todo.popleft()
            listed = self._listed.get(number)
            payload = json.dumps({"number": number, "listed": listed.wire() if listed else None})
            task = Task(f"{self.file}:{number}", "part", self._queue, 0, payload, self.file)
        elif self.state == "steps":
            number, kind = self._todo.popleft(), self._steps[0][0]
            task = Task(f"{self.file}:{kind}{number}", kind, self._queue, 0, json.dumps({"range": number}), self.file)
        else:
            self._sent = True
            # they say by themselves what to abort: the ledger may have lost its record
            begin = {"transfer": self.transfer.wire(), "whole": self.whole, "former": self._left}
            payload = json.dumps({"begin": begin, "abandon": self.fields}.get(self.state, {}))
            queue = self._queue if self.state == "begin" else self._commit_queue
            kind = "compare_begin" if self.state == "begin" and self.transfer.check else self.state
            task = Task(f"{self.file}:{self.state}", kind, queue, 0, payload, self.file)
        self.out.add(task.id)
        return task

    def put_back(self, task: Task) -> None:
        """``task`` was taken back before a worker began it: it is to be sent again."""
        self.out.discard(task.id)
        todo = json.loads(task.payload)
        if self.state == "parts" and task.kind == "part" and todo["number"] not in self.receipts:
            self._todo.appendleft(todo["number"])
        elif self.state == "steps" and self._steps and task.kind == self._steps[0][0]:
            self._todo.appendleft(todo["range"])
        elif task.id == f"{self.file}:{self.state}":
            self._sent = False

    def begun(self, fields: Mapping[str, str], listed: list[Part], have: Mapping[int, Part]) -> None:
        """The upload stands. ``have`` are receipts the ledger still held; ``listed`` must be compared by their part task."""
        self.fields = dict(fields)
        self.receipts = dict(have)
        self._listed = {p.number: p for p in listed}
        self._todo = deque(n for n in range(1, int(fields["total"]) + 1) if n not in self.receipts)
        self.state, self._sent = ("parts", False) if self._todo else ("commit", False)

    def _step(self) -> None:
        """Go to the next step of a delta that has anything to do."""
        while self._steps and not self._steps[0][1]:
            self._steps.popleft()
        self._todo = deque(range(self._steps[0][1]))
        self._unsettled = set(self._todo)
        self.state = "steps"

    def on_event(self, task: str, outcome: Mapping[str, Any], have: Mapping[int, Part]) -> None:
        """Take one settled task into account. ``have``: the ledger's receipts, read when a begin was settled."""
        self.out.discard(task)
        if self.state == "ended":
            return
        if "part" in outcome:
            part = Part.unwire(outcome["part"])
            self.receipts[part.number] = part
            if self.state == "parts" and len(self.receipts) == int(self.fields["total"]):
                self.state, self._sent = "commit", False
        elif "noted" in outcome:
            self._unsettled.discard(outcome["noted"])
            if self.state == "steps" and not self._unsettled:
                self._steps.popleft()
                self._step()
        elif "steps" in outcome:
            if self.state == "begin":
                self.fields = dict(outcome["file"])
                self._steps = deque((kind, count) for kind, count in outcome["steps"])
                self._step()
        elif "file" in outcome:
            if self.state in ("begin", "steps"):
                self.begun(outcome["file"], [Part.unwire(w) for w in outcome.get("listed", [])], have)
        elif outcome.get("abandoned"):
            self.state = "ended"
        elif "error" in outcome:
            self._failed(task, Outcome.unwire(outcome["error"]))

    def _failed(self, task: str, outcome: Outcome) -> None:
        self.outcome = self.outcome or outcome
        if task.endswith((":commit", ":conclude0")) and outcome.state in ("done", "replan", "skipped"):
            self.state = "ended"  # the commit itself cleaned up, if it knew of what
            self._left = self.fields if outcome.reason == "upload_lost" else {}
        elif task.endswith(":abandon") or (task.endswith(":begin") and self.state == "begin"):
            self.state = "ended"
        elif self.state != "abandon":
            self.state, self._sent = "abandon", False
            self._todo.clear()
