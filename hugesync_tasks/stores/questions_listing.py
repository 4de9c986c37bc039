"""What ``Store.validate`` asks of an object store about what it shows: listings, open uploads, names."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from hugesync_tasks.errors import BadName, NoSuchUpload, NotFound, Permanent
from hugesync_tasks.stores.asking import BODY, OTHER, Answer, Asking
from hugesync_tasks.stores.findings import NO, UNKNOWN, YES, Fact

# in UTF-8 order; by segments ``a/x`` comes first, in UTF-16 the last two change places
LISTED = ("a!", "a/x", "a0", "\uff5e", "\U0001f600")
ORDER_OF: dict[str, Callable[[str], object]] = {
    "utf8": lambda key: key,
    "segments": lambda key: key.split("/"),
    "utf16": lambda key: key.encode("utf-16-be"),
}


class ListingQuestions(Asking):
    """``shown``: every fact."""

    def shown(self) -> Iterator[Fact]:
        yield from self._listing()
        yield from self._aborting()
        yield from self.ask("double_slash_kept", lambda: self._kept("fold0/", "a//b"))
        yield from self.ask("backslash_kept", lambda: self._kept("fold1/", "a\\b"))
        yield from self.ask("file_beside_folder", self._beside)

    def _listing(self) -> Iterator[Fact]:
        folder = self._folder + "list/"
        found: list[str] = []

        def paged() -> Answer:
            for name in LISTED:
                self._made("list/" + name)
            next = ""
            for _ in range(2 * len(LISTED)):
                keys, next = self._raw.page(folder, 2, next=next)
                found.extend(key.removeprefix(folder) for key in keys)
                if not next:
                    break
            return (YES, "") if sorted(found) == sorted(LISTED) else (NO, "keys were missing or came twice")

        def order() -> Answer:
            if sorted(found) != sorted(LISTED):
                return UNKNOWN, ""
            fits = (name for name, rule in ORDER_OF.items() if found == sorted(LISTED, key=rule))  # type: ignore[arg-type]
            return next(fits, "none"), ""

        def start() -> Answer:
            after = found[1] if len(found) > 1 else LISTED[1]
            keys, _ = self._raw.page(folder, 10, after=folder + after)
            rest = [key.removeprefix(folder) for key in keys]
            return (YES, "") if rest == found[2:] else (NO, "the listing did not begin behind the key")

        yield from self.ask("list_pages", paged)
        yield from self.ask("list_order", order)
        yield from self.ask("list_start_after", start)

    def _aborting(self) -> Iterator[Fact]:
        key = self._key("abort")
        begun: list[str] = []

        def listed() -> Answer:
            begun.append(self._upload(key, BODY)[0])
            return (
                (YES, "")
                if (key, begun[0]) in self._raw.uploads(self._folder)
                else (NO, "an open upload was not listed")
            )

        def gone() -> Answer:
            if not begun:
                return UNKNOWN, ""
            self._raw.abort(key, begun[0])
            try:
                left = self._raw.parts(key, begun[0])
            except (NoSuchUpload, NotFound):
                return YES, ""
            return NO, f"{len(left)} parts are there still"

        yield from self.ask("list_uploads", listed)
        yield from self.ask("abort", gone)

    def _kept(self, folder: str, name: str) -> Answer:
        try:
            key, _ = self._made(folder + name)
        except BadName as error:  # nothing is kept under another key, so nothing follows for other names
            return UNKNOWN, f"refused: {error.message}"
        except Permanent as error:
            return NO, f"refused: {error.message}"
        keys, _ = self._raw.page(self._folder + folder, 10)
        if keys == [key]:
            return YES, ""
        return NO, f"kept as {', '.join(repr(k.removeprefix(self._folder + folder)) for k in keys) or 'nothing'}"

    def _beside(self) -> Answer:
        try:
            file, _ = self._made("beside/a")
            below, _ = self._made("beside/a/b", OTHER)
        except Permanent as error:
            return NO, f"refused: {error.message}"
        both = self._raw.read(file) == BODY and self._raw.read(below) == OTHER
        return (YES, "") if both else (NO, "one of them is gone")
