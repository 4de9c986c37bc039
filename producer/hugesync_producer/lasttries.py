"""What failed for a reason that may pass is tried again when all else is settled, and before anything is deleted.

A store that is away for longer than the attempts at one request last fails the files that were in hand just then. By the end of
the job it may be back, and nobody is there at night to type the command once more.
"""

from __future__ import annotations

from collections.abc import Callable

from hugesync_producer import human
from hugesync_producer.failedfirst import failed_first
from hugesync_producer.units import Units
from hugesync_producer.window import Failed, Window
from hugesync_tasks.errors import FailureClass
from hugesync_tasks.stages.context import JobContext
from hugesync_tasks.token import Meter

PAUSES = (2.0, 10.0, 30.0)  # seconds before each pass, as long as ``--retries`` reach


def may_pass(failure: Failed) -> bool:
    return failure.again and failure.reason == FailureClass.TRANSIENT


class LastTries:
    """``passes`` of one run; what beyond the cap was only counted is not among them."""

    def __init__(
        self,
        job: JobContext,
        window: Window,
        units: Units,
        meter: Meter,
        keep: Callable[[], object],
        notice: Callable[[str], object],
    ) -> None:
        self._job, self._window, self._units, self._meter, self._keep, self._notice = (
            job, window, units, meter, keep, notice,
        )  # fmt: skip
        self._pauses = list(PAUSES[: job.options.retries - 1])
        self._at: float | None = None  # when the next pass begins

    def go_on(self, now: float) -> bool:
        """Whether there is more to do: a pass is waited for, or has just been planned. Asked when all else is settled; once it was
        false it stays so, for then deleting begins."""
        if not self._pauses or not (failed := sum(map(may_pass, self._window.base.failures))):
            self._pauses.clear()
            return False
        if self._at is None:
            self._at = now + self._pauses[0]
            self._notice(
                f"{human.counted(failed, 'file')} failed for a reason that may pass; trying again in {human.duration(self._pauses[0])}"
            )
        elif now >= self._at:
            del self._pauses[0]
            self._at = None
            failed_first(self._job, self._window, self._units, self._meter, self._keep, may_pass)
        return True
