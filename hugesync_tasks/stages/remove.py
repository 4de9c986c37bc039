"""Remove: delete what only the destination has, each key by itself, if it still is the version that was judged.

Deleting is the one thing that no later run can mend. So the last look at both ends is made here, just before each delete: the
source must still lack the key, and the store is asked to delete one version and no other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from hugesync_tasks import logs
from hugesync_tasks.errors import NotEmpty, Stopped, VersionMismatch
from hugesync_tasks.model import LINK_SUFFIX, Head, Kind, Outcome, Removal, failed
from hugesync_tasks.stages.context import JobContext
from hugesync_tasks.stages.sidecar import sidecar_key
from hugesync_tasks.token import Token

THREADS = 16  # removals in flight inside one task
GROUP = 64  # after so many there is a receipt

Report = Callable[[Mapping[int, Outcome]], None]


class RemoveRun:
    """One delete task: run it with the items that have no receipt yet. ``sidecars``: signatures of ours may lie beside the
    files, and go with them."""

    def __init__(self, job: JobContext, token: Token, report: Report, sidecars: bool) -> None:
        self._job, self._token, self._report = job, token, report
        self._sidecars = sidecars and job.dest.limits.remote

    def run(self, items: Mapping[int, Removal]) -> None:
        """Real folders in the order given, so that one comes after what lay in it. Raises only ``Stopped``."""
        numbered = list(items.items())
        with ThreadPoolExecutor(THREADS, thread_name_prefix="delete", **logs.carry()) as pool:
            for at in range(0, len(numbered), GROUP):
                group = numbered[at : at + GROUP]
                self._report(dict(zip((n for n, _ in group), self._group([r for _, r in group], pool), strict=True)))

    def _group(self, removals: Sequence[Removal], pool: ThreadPoolExecutor) -> list[Outcome]:
        real = self._job.dest.limits.folders
        if real and not self._job.source.limits.remote:
            return [self._remove(r) for r in removals]
        any_order = [r for r in removals if r.counted or not real]
        answers = dict(zip((r.key for r in any_order), pool.map(self._remove, any_order), strict=True))
        return [answers[r.key] if r.key in answers else self._remove(r) for r in removals]

    def _remove(self, removal: Removal) -> Outcome:
        token = self._token
        logs.of_file(removal.key)
        try:
            if not removal.version:
                return Outcome(
                    "failed", "permanent", "the store told no version of it, so it could not be deleted safely"
                )
            if removal.absent and _has(self._job.source.head(removal.key, token), removal.key):
                return Outcome("kept", "appeared")
            if self._sidecars and removal.counted:
                self._remove_sidecar(removal.key)  # first: a kill in between leaves a file without one, never one alone
            self._job.dest.delete(removal.key, removal.version, token)
            return Outcome("deleted")
        except Stopped:
            raise
        except NotEmpty:
            return Outcome("kept", "not_empty")
        except VersionMismatch:
            return Outcome("failed", "conflict", "it changed since it was listed", conflicts=1)
        except Exception as error:  # whatever it is, it keeps one key
            return failed(error)
        finally:
            logs.of_file()
            token.moved(0)

    def _remove_sidecar(self, key: str) -> None:
        sidecar = sidecar_key(key, self._job.options)
        there = self._job.dest.head(sidecar, self._token)
        if there is not None and there.meta.sidecar:
            self._job.dest.delete(sidecar, there.entry.version, self._token)


def _has(found: Head | None, key: str) -> bool:
    """Whether the source has ``key`` itself: on a filesystem another kind of thing may answer to its name."""
    if found is None or found.meta.sidecar:  # ours there, which no listing shows
        return False
    if key.endswith("/"):
        return found.entry.kind is Kind.DIR
    if key.endswith(LINK_SUFFIX):
        return found.entry.kind is Kind.LINK
    return found.entry.kind not in (Kind.DIR, Kind.LINK)
