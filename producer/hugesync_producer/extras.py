"""What ``--delete`` would remove: keys of the destination that the source lacks and that the selection admits.

Takes the join's items in key order; nothing here reads or writes. A folder is an extra only when the source has neither it nor
anything in it, and nothing below it at the destination stays. That is known when it is left, so folders come out deepest
first, after everything in them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from typing import Any

from hugesync_producer.filters import Filter
from hugesync_producer.join import JoinItem
from hugesync_tasks import names
from hugesync_tasks.model import Entry, Kind, Removal


@dataclass(slots=True)
class Seen:
    """What a join saw at both ends, in entries: files, links, special files, and folders too."""

    selected: int = 0  # of the source, those that take part
    dest: int = 0  # of the destination, what filters leave out included
    extras: int = 0  # of these, what would be removed
    files: int = 0  # of the extras, those that are no folders
    errors: int = 0  # at either end: what could not be looked at
    error: str = ""  # the first of them, as a sentence
    error_key: str = ""

    def add(self, other: Seen) -> None:
        if not self.errors:
            self.error, self.error_key = other.error, other.error_key
        for name in ("selected", "dest", "extras", "files", "errors"):
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def wire(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def unwire(cls, w: dict[str, Any]) -> Seen:
        known = {f.name for f in fields(cls)}
        return cls(**{name: value for name, value in w.items() if name in known})


class Extras:
    """``excluded``: with ``--delete-excluded``, when what the selection leaves out goes as well. ``backup``: the folder of
    ``--backup-dir``, which no listing shows; what leads to it stays. ``keep_both``: what bears the name of a second version
    stays, whichever run wrote it. ``found`` is called with each extra."""

    def __init__(
        self, select: Filter, excluded: bool, backup: str, found: Callable[[Removal], object], keep_both: bool = False
    ) -> None:
        self._select, self._excluded, self._backup, self._found = select, excluded, backup, found
        self._keep_both = keep_both
        self._folders: list[Removal] = []  # on the way to the current key, which may turn out to be extras
        self.seen = Seen()
        self.first: Entry | None = None  # the first regular file of the source

    def take(self, item: JoinItem) -> None:
        """The next of the join."""
        source, dest, seen = item.source, item.dest, self.seen
        self._leave(item.key)
        for entry, side in ((source, "source"), (dest, "destination")):
            if entry is not None and entry.kind is Kind.ERROR:
                if not seen.errors:
                    seen.error, seen.error_key = f"at the {side}: {entry.note or 'could not be looked at'}", entry.key
                seen.errors += 1
        if source is not None:
            self._folders.clear()  # it lies in them
            seen.selected += self._select.selects(source)
            if self.first is None and source.kind is Kind.FILE:
                self.first = source
        if dest is None:
            return
        seen.dest += 1
        absent = source is None and self._select.selects(dest)
        left_out = self._excluded and (source is None or not self._select.selects(source))
        leads_to_backup = dest.kind is Kind.DIR and self._backup.startswith(dest.key)
        second = self._keep_both and names.is_conflict_key(dest.key)
        if dest.kind is Kind.ERROR or not (absent or left_out) or leads_to_backup or second:
            self._folders.clear()
            return
        removal = Removal(dest.key, dest.version, dest.size, absent)
        if dest.kind is Kind.DIR:
            self._folders.append(removal)
        else:
            self._is_extra(removal)

    def close(self) -> None:
        """After the last."""
        while self._folders:
            self._is_extra(self._folders.pop())

    def taken(self) -> Seen:
        """What was seen since the last call."""
        seen, self.seen = self.seen, Seen()
        return seen

    def _leave(self, key: str) -> None:
        while self._folders and not key.startswith(self._folders[-1].key):
            self._is_extra(self._folders.pop())

    def _is_extra(self, removal: Removal) -> None:
        self.seen.extras += 1
        self.seen.files += removal.counted
        self._found(removal)
