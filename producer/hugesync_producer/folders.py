"""The folders that are open at the current key: which must be finished (mode, owner, mtime), and when."""

from __future__ import annotations

from collections.abc import Iterable

from hugesync_tasks.model import Entry


def folders_of(key: str) -> list[str]:
    """The folder keys on the way to ``key``, outermost first, ``key`` itself among them where it is a folder."""
    out = []
    at = key.find("/")
    while at >= 0:
        out.append(key[: at + 1])
        at = key.find("/", at + 1)
    return out


class OpenFolders:
    """A stack as deep as the tree. ``resumed``: the entries of the folders on the way to the key a resumed scan starts
    after (``folders_of``); what was done in them before the restart is not known, so they are finished in any case."""

    def __init__(self, resumed: Iterable[Entry] = ()) -> None:
        self._stack: list[_Open] = [_Open(entry, True, False) for entry in resumed]

    def leave(self, key: str) -> list[Entry]:
        """Close what ``key`` does not lie in; those that must be finished, deepest first."""
        out: list[Entry] = []
        while self._stack and not key.startswith(self._stack[-1].entry.key):
            self._close(out)
        return out

    def leave_all(self) -> list[Entry]:
        out: list[Entry] = []
        while self._stack:
            self._close(out)
        return out

    def enter(self, entry: Entry, finish: bool, finish_if_touched: bool) -> None:
        self._stack.append(_Open(entry, finish, finish_if_touched))

    def touch(self, key: str) -> None:
        """Something directly in ``key``'s folder may be written, which changes that folder's mtime."""
        if self._stack and key.rfind("/", 0, len(key) - 1) + 1 == len(self._stack[-1].entry.key):
            top = self._stack[-1]
            top.finish = top.finish or top.finish_if_touched

    def _close(self, out: list[Entry]) -> None:
        closed = self._stack.pop()
        if closed.finish:
            out.append(closed.entry)


class _Open:
    __slots__ = ("entry", "finish", "finish_if_touched")

    def __init__(self, entry: Entry, finish: bool, finish_if_touched: bool) -> None:
        self.entry, self.finish, self.finish_if_touched = entry, finish, finish_if_touched
