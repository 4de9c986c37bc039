"""What ``Store.validate`` asks of an object store about writing: conditions, copies, checksums."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator

from awscrt.checksums import combine_crc64nvme, crc64nvme

from hugesync_tasks.errors import Corrupted, NeedsPerson, NotFound, Permanent, VersionMismatch
from hugesync_tasks.stores.asking import BODY, OTHER, Answer
from hugesync_tasks.stores.base import MIB
from hugesync_tasks.stores.findings import NO, UNKNOWN, YES, Fact
from hugesync_tasks.stores.questions_listing import ListingQuestions

NO_VERSION = "0123456789abcdef0123456789abcdef"
PART = 5 * MIB  # S3's smallest part; it copies ranges only of larger objects
TAIL = 64 << 10
_CONDITION = (VersionMismatch, NotFound)
_WRONG_MD5 = hashlib.md5(b"not this", usedforsecurity=False).hexdigest()


class Questions(ListingQuestions):
    """All of them."""

    def facts(self) -> Iterator[Fact]:
        """Every fact, as it is found. Raises NeedsPerson where not even an object can be written, Transient where nobody
        answers any more."""
        self._made("first")
        raw = self._raw
        yield from self.ask("put_if_none_match", self._new("put0", lambda k: raw.put(k, OTHER, absent=True)))
        yield from self.ask("put_if_match", self._old("put1", lambda k, e: raw.put(k, OTHER, if_match=e)))
        yield from self.ask("complete_if_none_match", self._new("done0", lambda k: self._complete(k, absent=True)))
        yield from self.ask("complete_if_match", self._old("done1", lambda k, e: self._complete(k, if_match=e)))
        source, etag = self._made("source", OTHER)
        yield from self.ask("copy_if_none_match", self._new("copy0", lambda k: raw.copy(source, k, absent=True)))
        yield from self.ask("copy_if_match", self._old("copy1", lambda k, e: raw.copy(source, k, if_match=e)))
        yield from self.ask("copy_source_if_match", lambda: self._copy_source(source, etag))
        yield from self.ask("delete_if_match", self._delete)
        yield from self._big()
        yield from self.ask("put_crc64", self._checked("crc", lambda k, crc: raw.put(k, BODY, crc64=crc)))
        yield from self.ask("part_crc64", self._part_crc64)
        yield from self.ask("complete_crc64", self._complete_crc64)
        yield from self.ask("put_md5", self._md5)
        yield from self.ask("etag_is_md5", self._etags)
        yield from self.shown()

    def _new(self, name: str, write: Callable[[str], object]) -> Callable[[], Answer]:
        """A write of OTHER that must succeed only where nothing is."""

        def question() -> Answer:
            there, _ = self._made(name)
            return self._honoured(lambda: write(there), lambda: write(self._key(name + "-new")), _CONDITION, there)

        return question

    def _old(self, name: str, write: Callable[[str, str], object]) -> Callable[[], Answer]:
        """A write of OTHER that must succeed only over the version it names."""

        def question() -> Answer:
            there, etag = self._made(name)
            return self._honoured(lambda: write(there, NO_VERSION), lambda: write(there, etag), _CONDITION, there)

        return question

    def _checked(self, name: str, write: Callable[[str, int], object]) -> Callable[[], Answer]:
        def question() -> Answer:
            key, right = self._key(name), int(crc64nvme(BODY))
            return self._honoured(lambda: write(key, right ^ 1), lambda: write(key, right), (Corrupted,), key, None)

        return question

    def _copy_source(self, source: str, etag: str) -> Answer:
        key = self._key("copy2")
        wrong, right = (
            lambda match=match: self._raw.copy(source, key, source_match=match) for match in (NO_VERSION, etag)
        )
        return self._honoured(wrong, right, _CONDITION, key, None)

    def _delete(self) -> Answer:
        key, etag = self._made("delete")
        delete = self._raw.delete
        found = self._honoured(
            lambda: delete(key, if_match=NO_VERSION), lambda: delete(key, if_match=etag), _CONDITION, key
        )
        if found[0] == YES and self._raw.read(key) is not None:
            return NO, "accepted, and nothing was deleted"
        return found

    def _big(self) -> Iterator[Fact]:
        """An object of a copied range and a sent part, under the CRC64NVME of the whole where uploads can promise one."""
        body = b"".join(hashlib.sha256(n.to_bytes(4, "big")).digest() for n in range((PART + TAIL) // 32))
        copied = body[1 : 1 + PART]
        crc64 = int(crc64nvme(copied))
        whole: int | None = combine_crc64nvme(crc64, crc64nvme(BODY), len(BODY))
        names, key = ("part_copy_source_if_match", "part_copy_range", "part_copy_crc64"), self._key("stitched")
        said: list[int | None] = []

        def begin(promising: bool) -> str:
            id = self._raw.create(key, crc64=promising)
            self.begun.add((key, id))
            return id

        def copy(id: str, match: str = "") -> str:
            etag, crc = self._raw.copy_part(key, id, 1, source, 1, PART, source_match=match)
            said.append(crc)
            return etag

        def pinned() -> Answer:
            return self._honoured(lambda: copy(id, NO_VERSION), lambda: copy(id, version), _CONDITION, key, None)

        def stitch(id: str, promise: int | None) -> None:
            tail = self._raw.part(key, id, 2, BODY, crc64=None if promise is None else crc64nvme(BODY))
            self._raw.complete(key, id, [copy(id), tail], crc64=promise)

        def stitched() -> Answer:
            try:
                stitch(id, whole)
            except Corrupted:  # other bytes, or a store that cannot sum up copied parts: the bytes tell
                stitch(begin(False), None)
            return (YES, "") if self._raw.read(key) == copied + BODY else (NO, "other bytes were copied")

        try:
            source, version = self._made("big", body)
            try:
                id = begin(True)
            except Permanent:
                id, whole = begin(False), None
        except (Permanent, NeedsPerson) as error:
            yield from (Fact(name, UNKNOWN, error.message) for name in names)
            return
        yield from self.ask(names[0], pinned)
        yield from self.ask(names[1], stitched)
        seen = [crc for crc in said if crc is not None]
        note = "" if not said else "none in the answer" if not seen else "a wrong one" if {*seen} != {crc64} else ""
        yield Fact(names[2], UNKNOWN if not said else NO if note else YES, note)

    def _part_crc64(self) -> Answer:
        key, right = self._key("part"), int(crc64nvme(BODY))
        id = self._raw.create(key, crc64=True)
        self.begun.add((key, id))
        return self._honoured(
            lambda: self._raw.part(key, id, 1, BODY, crc64=right ^ 1),
            lambda: self._raw.part(key, id, 1, BODY, crc64=right),
            (Corrupted,), key, None,
        )  # fmt: skip

    def _complete_crc64(self) -> Answer:
        """Over two parts: what a server knows of a single one is no proof that it can combine."""
        key, first = self._key("whole"), bytes(PART)
        whole = combine_crc64nvme(crc64nvme(first), crc64nvme(BODY), len(BODY))
        id, etag = self._upload(key, first, crc64=True)
        etags = [etag, self._raw.part(key, id, 2, BODY, crc64=crc64nvme(BODY))]
        return self._honoured(
            lambda: self._raw.complete(key, id, etags, crc64=whole ^ 1),
            lambda: self._raw.complete(key, id, etags, crc64=whole),
            (Corrupted,), key, None,
        )  # fmt: skip

    def _md5(self) -> Answer:
        key, right = self._key("md5"), hashlib.md5(BODY, usedforsecurity=False).hexdigest()
        wrong, good = (lambda md5=md5: self._raw.put(key, BODY, md5=md5) for md5 in (_WRONG_MD5, right))
        return self._honoured(wrong, good, (Corrupted,), key, None)

    def _etags(self) -> Answer:
        _, of_object = self._made("etag")
        _, of_part = self._upload(self._key("etag-part"), BODY)
        right = hashlib.md5(BODY, usedforsecurity=False).hexdigest()
        wrong = [what for what, etag in (("objects", of_object), ("parts", of_part)) if etag != right]
        return (NO, f"of {' and '.join(wrong)} they are something else") if wrong else (YES, "")
