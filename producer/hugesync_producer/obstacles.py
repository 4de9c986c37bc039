"""Why a source entry cannot stand at the destination: names, lengths, and names that meet each other there.

Asked once per selected entry, in key order. Nothing that is refused here ever reaches a store.
"""

from __future__ import annotations

import unicodedata

from hugesync_tasks.model import LINK_SUFFIX, Entry, Kind
from hugesync_tasks.names import decode_name, folded, not_on_filesystem, reserved
from hugesync_tasks.stores.base import Limits


class Obstacles:
    """``prefix``: the destination's, "" or ending in ``/``; what a store calls an object begins with it."""

    def __init__(self, limits: Limits, prefix: str = "") -> None:
        self._limits = limits
        self._prefix = prefix
        self._files: list[str] = []  # accepted names that lead to the current key, so that a folder could meet them
        self._folded: list[tuple[str, dict[str, str]]] = []  # of each open folder: folded name -> name

    def refuse(self, entry: Entry) -> str | None:
        """A sentence why ``entry`` is not possible there, or None; an accepted entry is remembered."""
        if why := reserved(entry.key, entry.kind) or self._bad_name(entry):
            return why
        name = self._name(entry)
        return self._beside_a_folder(entry, name) or self._other_case(name)

    def _name(self, entry: Entry) -> str:
        """The key as it will stand at the destination: a filesystem has links under their own name."""
        return entry.key.removesuffix(LINK_SUFFIX) if entry.kind is Kind.LINK and self._limits.folders else entry.key

    def _bad_name(self, entry: Entry) -> str | None:
        limits, name = self._limits, self._name(entry)
        if limits.folders and (why := not_on_filesystem(name)):
            return why
        if limits.folders and entry.kind is Kind.LINK and name.endswith("/"):
            return f"bad name: nothing but {LINK_SUFFIX}"
        raw = decode_name(name) if limits.folders else name.encode(errors="surrogatepass")
        if (length := len(raw) + len(self._prefix.encode())) > limits.max_key:
            return f"the name is too long: {length} bytes, {limits.name} holds {limits.max_key}"
        if limits.max_segment is not None and (longest := max(map(len, raw.split(b"/")))) > limits.max_segment:
            return f"a part of the name is too long: {longest} bytes, {limits.name} holds {limits.max_segment}"
        if limits.folds and (why := folded(self._prefix + name)):
            return f"{why}, and {limits.name} would keep it under another name"
        return None

    def _beside_a_folder(self, entry: Entry, name: str) -> str | None:
        """``a`` sorts before ``a/b``, with names like ``a-c`` between: so accepted names are kept while keys begin so."""
        if self._limits.file_and_folder:
            return None
        self._files = [f for f in self._files if entry.key.startswith(f)]
        for f in self._files:
            if name.startswith(f + "/"):
                return f"{f!r} is a file in the source, and {self._limits.name} cannot hold a folder of that name beside it"
            if name == f:
                return (
                    f"{f!r} is both a file and a link in the source, and {self._limits.name} can hold only one of them"
                )
        if entry.kind is not Kind.DIR:
            self._files.append(name)
        return None

    def _other_case(self, name: str) -> str | None:
        """The first of two names that differ in case or Unicode form only is kept, so that nothing is overwritten."""
        if self._limits.case_sensitive:
            return None
        folder = ""
        for depth, segment in enumerate(name.removesuffix("/").split("/")):
            if depth == len(self._folded) or self._folded[depth][0] != folder:
                self._folded[depth:] = [(folder, {})]
            kept = self._folded[depth][1].setdefault(_fold(segment), segment)
            if kept != segment:
                return f"{segment!r} and {kept!r} are one name for {self._limits.name}, which does not tell cases apart"
            folder += segment + "/"
        return None


def _fold(segment: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", segment).casefold())
