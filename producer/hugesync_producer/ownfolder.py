"""The folder that one job without a fleet lives in while it runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from hugesync_producer.jobfolder import CannotSave, DestinationLock, JobFolder
from hugesync_producer.leadership import place_of
from hugesync_producer.openjob import UNFINISHED
from hugesync_tasks.config import Settings
from hugesync_tasks.errors import UsageError
from hugesync_tasks.spec import Spec


@contextmanager
def own_folder(spec: Spec, settings: Settings, fresh: bool) -> Iterator[JobFolder]:
    """The folder of a job without a fleet, and nobody else's run at its destination until the block ends. Of a job that ended nothing
    but its history is left there. Raises UsageError where the state cannot be kept, Refused where another run goes on."""
    try:
        lock = DestinationLock(settings.state_dir, place_of(spec))
        lock.take(spec.job)
    except OSError as error:
        raise _no_state(settings, error) from error
    try:
        folder = JobFolder(settings.state_dir, spec.job)
        try:
            if fresh or folder.open().get("state") not in UNFINISHED:
                folder.open()
                folder.forget_work()
            folder.save()
        except OSError as error:
            raise _no_state(settings, error) from error
        except CannotSave as error:  # nothing has begun
            raise UsageError(f"{error} (HUGESYNC_STATE_DIR)") from error
        yield folder
        if folder.data.get("state") not in UNFINISHED:
            folder.forget_work()
    finally:
        lock.release()


def _no_state(settings: Settings, error: OSError) -> UsageError:
    return UsageError(f"cannot write the state folder {settings.state_dir} (HUGESYNC_STATE_DIR): {error.strerror}")
