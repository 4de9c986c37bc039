"""What failed for a reason that may pass is tried again when all else is settled, and before anything is deleted.

A store that is away for longer than the attempts at one request last fails the files that were in hand just then. By the end of
the job it may be back, and nobody is there at night to type the command once more.
"""

from __future__ import annotations

from collections.abc import Callable

from hugesync_producer import human
from hugesync_producer.window import Failed, Window
from hugesync_tasks.errors import FailureClass

PAUSES = (2.0, 10.0, 30.0)  # seconds before each pass, as long as ``--retries`` reach
AT_ONCE = 16  # files looked at in one turn of the coordinator: a store that is away still may take long for each


class LastTries:
    """The passes of one run; what beyond the cap was only counted is not among them. ``plan``: plans the failures that it is asked
    for again. ``wants``: of ``hugesync retry``, which files it is about."""

    def __init__(
        self,
        window: Window,
        retries: int,
        plan: Callable[[Callable[[Failed], bool]], object],
        wants: Callable[[Failed], bool],
        notice: Callable[[str], object],
    ) -> None:
        self._window, self._plan, self._wants, self._notice = window, plan, wants, notice
        self._pauses = list(PAUSES[: retries - 1])
        self._at: float | None = None  # when the next pass begins
        self._left: list[str] = []  # of the pass that has begun

    def go_on(self, now: float) -> bool:
        """Whether there is more to do: a pass is waited for, or some of it has just been planned. Asked when all else is settled; once
        it was false it stays so, for then deleting begins."""
        if self._left:
            some, self._left = set(self._left[:AT_ONCE]), self._left[AT_ONCE:]
            self._plan(lambda failure: failure.key in some and self._may_pass(failure))
            return True
        failed = [failure.key for failure in self._window.base.failures if self._may_pass(failure)]
        if not self._pauses or not failed:
            self._pauses.clear()
            return False
        if self._at is None:
            self._at = now + self._pauses[0]
            pause = human.duration(self._pauses[0])
            self._notice(
                f"{human.counted(len(failed), 'file')} failed for a reason that may pass; trying again in {pause}"
            )
        elif now >= self._at:
            del self._pauses[0]
            self._at, self._left = None, failed
        return True

    def _may_pass(self, failure: Failed) -> bool:
        return failure.again and failure.reason == FailureClass.TRANSIENT and self._wants(failure)
