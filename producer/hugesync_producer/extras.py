"""What ``--delete`` would remove: keys of the destination that the source lacks, or hides, and that nothing protects.

A rule protects a folder that the source lacks with all that is in it; of one that the source has, each entry is judged by itself.
Takes the join's items in key order; nothing here reads or writes. A folder is an extra only when the source has neither it nor
anything in it, and nothing below it at the destination stays. That is known when it is left, so folders come out deepest
first, after everything in them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from heapq import heappop, heappush
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


@dataclass(slots=True)
class _Around:
    """A folder around the current key, whether it has an entry of its own or not."""

    key: str
    there: bool  # the source is known to have it
    hidden: bool  # the source's listing leaves it out
    protected: bool  # the source lacks it, and a rule keeps it with all that is in it
    doomed: bool  # the source lacks it, and it is to go


class Extras:
    """``select`` with ``delete_excluded``: what the selection leaves out goes as well. ``backup``: the folder of
    ``--backup-dir``, which no listing shows; what leads to it stays. ``keep_both``: what bears the name of a second version
    stays, whichever run wrote it. ``real``: the source lists its folders, so that one which it does not list is not there.
    ``found`` is called with each extra."""

    def __init__(
        self,
        select: Filter,
        backup: str,
        found: Callable[[Removal], object],
        keep_both: bool = False,
        real: bool = True,
    ) -> None:
        self._select, self._backup, self._found = select, backup, found
        self._keep_both, self._real = keep_both, real
        self._folders: list[Removal] = []  # on the way to the current key, which may turn out to be extras
        self._around: list[_Around] = []
        self._passed_over: list[str] = []  # a heap: folders are looked over a little ahead
        self.seen = Seen()
        self.first: Entry | None = None  # the first regular file of the source

    def passed_over(self, folder: str) -> None:
        """A folder of the destination that its listing does not enter, so that what it lies in cannot go. Called before
        anything behind it is taken; from another thread."""
        heappush(self._passed_over, folder)

    def take(self, item: JoinItem) -> None:
        """The next of the join."""
        source, dest, seen = item.source, item.dest, self.seen
        while self._passed_over and self._passed_over[0] < item.key:
            self._leave(heappop(self._passed_over))
            self._folders.clear()
        self._leave(item.key)
        self._step_into(item.key, source is not None)
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
        around = self._around[-1] if self._around else _TOP
        if dest.kind is Kind.ERROR or not self._at_risk(source, dest, around) or self._stays(dest):
            self._folders.clear()
            return
        absent = source is None and not around.hidden and self._select.selects(dest)
        removal = Removal(dest.key, dest.version, dest.size, absent)
        if dest.kind is Kind.DIR:
            self._folders.append(removal)
        else:
            self._is_extra(removal)

    def close(self) -> None:
        """After the last."""
        while self._passed_over:
            self._leave(heappop(self._passed_over))
            self._folders.clear()
        while self._folders:
            self._is_extra(self._folders.pop())

    def taken(self) -> Seen:
        """What was seen since the last call."""
        seen, self.seen = self.seen, Seen()
        return seen

    def _leave(self, key: str) -> None:
        while self._folders and not key.startswith(self._folders[-1].key):
            self._is_extra(self._folders.pop())

    def _step_into(self, key: str, there: bool) -> None:
        """Know the folders around ``key``, itself among them where it is one. ``there``: the source has it, and so them."""
        around = self._around
        while around and not key.startswith(around[-1].key):
            around.pop()
        if there:
            for folder in around:
                folder.there, folder.protected, folder.doomed = True, False, False
        at = key.find("/", len(around[-1].key) if around else 0)
        while at >= 0:
            above, name = around[-1] if around else _TOP, key[: at + 1]
            entry = Entry(name, Kind.DIR)
            protected = not there and (above.protected or self._select.protects(entry, above.doomed))
            doomed = not there and not protected and self._real
            hidden = above.hidden or not self._select.enter(name)
            around.append(_Around(name, there, hidden, protected, doomed))
            at = key.find("/", at + 1)

    def _at_risk(self, source: Entry | None, dest: Entry, around: _Around) -> bool:
        """Whether the source has no such entry in this job, and no rule keeps it."""
        select = self._select
        if source is not None and select.shows(source):
            return select.delete_excluded and not select.fits(source)
        if around.protected or (dest.kind is not Kind.DIR and select.protects(dest, around.doomed)):
            return False
        return select.delete_excluded or select.fits(dest)

    def _stays(self, dest: Entry) -> bool:
        leads_to_backup = dest.kind is Kind.DIR and self._backup.startswith(dest.key)
        return leads_to_backup or (self._keep_both and names.is_conflict_key(dest.key))

    def _is_extra(self, removal: Removal) -> None:
        self.seen.extras += 1
        self.seen.files += removal.counted
        self._found(removal)


_TOP = _Around("", True, False, False, False)
