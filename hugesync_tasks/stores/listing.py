"""What every listing has in common: its keys strictly increase, and a folder not entered is not in it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from hugesync_tasks.errors import Permanent
from hugesync_tasks.model import Entry
from hugesync_tasks.names import is_ours as is_ours  # a listing's rule as well: what is ours is not in it


def strictly_increasing(entries: Iterable[Entry], store_name: str) -> Iterator[Entry]:
    """``entries``, unchanged, as long as each key is greater than the one before.

    Raises Permanent naming ``store_name`` at the first that is not: a join over such a listing would copy what is
    already there and delete what it overlooked, so the job must end and never guess.
    """
    last: str | None = None
    for entry in entries:
        if last is not None and entry.key <= last:
            raise Permanent(
                f"the listing of {store_name} is out of order: {entry.key!r} came after {last!r}", entry.key
            )
        last = entry.key
        yield entry


class Doorkeeper:
    """Applies ``enter`` to a listing that has no folders to descend into, asking once per folder as its keys pass.

    Right in any order of keys; it asks again for a folder whose keys are not listed together.
    """

    def __init__(self, enter: Callable[[str], bool] | None) -> None:
        self._enter = enter
        self._entered: list[str] = []  # the chain of folders the last key lies in
        self._refused = ""

    def admits(self, key: str) -> bool:
        """Whether ``key`` and every folder above it may be yielded."""
        if self._enter is None:
            return True
        if self._refused and key.startswith(self._refused):
            return False
        while self._entered and not key.startswith(self._entered[-1]):
            self._entered.pop()
        at = len(self._entered[-1]) if self._entered else 0
        while (slash := key.find("/", at)) >= 0:
            at = slash + 1
            folder = key[:at]
            if not self._enter(folder):
                self._refused = folder
                return False
            self._entered.append(folder)
        return True
