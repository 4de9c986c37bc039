"""The map of one job: where its rows lie, from the command line to the job's folder and away when the job is done."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from hugesync_producer.mapped import MappedStore
from hugesync_producer.mapping import NAME, Map, kept
from hugesync_producer.presence import MustBeThere
from hugesync_tasks.errors import UsageError
from hugesync_tasks.spec import Spec
from hugesync_tasks.stores.base import Store


class JobMap:
    """``given``: as this run's command line had it; None of a job that is resumed. Raises UsageError where the rows are not on this
    host: they travel in no message, and lie in no ledger."""

    def __init__(self, spec: Spec, state_dir: Path, given: Map | None) -> None:
        self._folder = state_dir / "jobs" / spec.job
        found = given if given is not None else kept(self._folder, spec.map_digest)
        if found is None:
            raise UsageError(
                f"the map of job {spec.job} is not on this host ({self._folder / NAME}): resume it where it was begun, or run "
                "the same command again"
            )
        self._map = found

    def over(self, source: Store, spec: Spec) -> MappedStore:
        """The source under its new names."""
        return MappedStore(MustBeThere(source, spec.source), lambda: self._map)

    def keep(self) -> None:
        """Into the job's folder. Raises UsageError."""
        if self._map.path is not None:
            return
        try:
            self._map = self._map.keep(self._folder)
        except OSError as error:
            raise UsageError(f"cannot write {self._folder / NAME} (HUGESYNC_STATE_DIR): {error.strerror}") from error

    def forget(self) -> None:
        """The job is done."""
        with suppress(OSError):
            (self._folder / NAME).unlink()
            self._folder.rmdir()  # of a fleet's job it held nothing else
