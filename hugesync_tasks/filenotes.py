"""What the tasks of one large file leave for each other in the ledger, and the signatures that come of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from hugesync_tasks.delta.match import Matched
from hugesync_tasks.delta.wire import Row, pack, unpack
from hugesync_tasks.model import Commit
from hugesync_tasks.signature.blocks import LEAF, file_digest
from hugesync_tasks.signature.format import Signature, Unusable
from hugesync_tasks.stages.basis import signed, stored
from hugesync_tasks.stages.begin import LargeFile
from hugesync_tasks.stages.sidecar import Hashes, carry, keeps_sidecar, of_source, save, signed_block
from hugesync_tasks.work import UploadLost, Work

TOGETHER = 64  # notes of ranges that are read at a time: about 50 KiB each


class FileNotes:
    """The notes of the file that a task is of: ``s<i>`` and ``m<i>`` of ranges, ``l<n>`` and ``h<n>`` of parts; of a comparison
    ``c<i>``."""

    def __init__(self, work: Work, large: LargeFile) -> None:
        self._work = work
        self._large = large

    def keep(self, notes: dict[str, bytes]) -> None:
        """Raises UploadLost where the file's record is gone."""
        work, generation = self._work, self._large.upload.generation
        if not work.lease.insist(lambda: work.process.ledger.put_notes(work.job_id, work.task.file, generation, notes)):
            raise UploadLost("the ledger has no record of the file any more")

    def keep_range(self, kind: str, number: int, found: Matched) -> None:
        self.keep({f"{kind}{number}": pack(found)})

    def keep_rows(self, rows: Iterable[Row]) -> None:
        self.keep({f"l{number}": row.pack() for number, row in enumerate(rows, 1)})

    def row(self, number: int) -> Row:
        """How part ``number`` is made. Raises UploadLost."""
        return Row.unpack(self._take([f"l{number}"])[0])

    def kept(self) -> list[tuple[int, int]]:
        """(offset, bytes) of what a file that is changed in place has already. Raises UploadLost."""
        names = [f"l{number}" for number in range(1, self._large.total + 1)]
        return [stretch for note in self._take(names) for stretch in Row.unpack(note).kept]

    def ranges(self, kind: str, count: int, first: int = 0) -> Iterator[Matched]:
        """What ranges ``first`` to ``count`` of ``kind`` (s: signed, m: matched, h: hashed parts) left, in order; few at a time,
        because all of a file of TiB are 200 MiB. Raises UploadLost where one is missing."""
        for at in range(first, count, TOGETHER):
            yield from map(unpack, self._take([f"{kind}{number}" for number in range(at, min(count, at + TOGETHER))]))

    def crcs(self, count: int) -> list[bytes]:
        """The checksums that the ranges of a comparison left. Raises UploadLost where one is missing."""
        return self._take([f"c{number}" for number in range(count)])

    def _take(self, names: list[str]) -> list[bytes]:
        work = self._work
        found = work.lease.insist(lambda: work.process.ledger.notes(work.job_id, work.task.file, names))
        if None in found:
            raise UploadLost("the ledger lost what was found of the file")
        return [note for note in found if note is not None]

    # signatures
    def hashed(self) -> int:
        """Bytes per block in which parts sent whole are hashed for the file's own signature; 0 = no signature is wanted."""
        job, upload = self._work.job, self._large.upload
        block = signed_block(job, upload.size)
        fits = upload.part_size % max(block, LEAF) == 0
        return block if fits and keeps_sidecar(job, upload.size) and not job.copies_parts else 0

    def signatures(self) -> list[Signature]:
        """What the file is matched against: the basis' signature (upload), the source's (download), or the source's and the
        basis' (between). Raises Unusable, UploadLost."""
        work, large, delta = self._work, self._large, self._large.delta
        assert delta is not None
        cached = work.process.signatures
        name = f"{work.job_id}:{work.task.file}:{large.upload.generation}"
        if name not in cached:
            if delta.signs:
                found = [signed(delta, self.ranges("s", delta.signing))]
            else:
                found = stored(work.job, large.upload.key, large.source, delta, work.lease.token)
            cached.clear()  # one at a time: a signature of a huge file has tens of MB
            cached[name] = found
        return cached[name]

    def sign(self, done: Commit) -> str:
        """Write the signature of the file that was just committed; a note where there is none and one was expected."""
        job, large = self._work.job, self._large
        if not keeps_sidecar(job, done.size):
            return ""
        mtime, token = large.meta.mtime_ns, self._work.lease.token
        if large.how == "server_copy":
            why = carry(job, large.source, done, mtime, token)
        else:
            try:
                hashes = self._hashes()
                why = save(job, large.source, done, mtime, hashes, token) if hashes else ""
            except (UploadLost, Unusable) as error:
                why = str(error)
        return f"no signature was written: {why}" if why else ""

    def _hashes(self) -> Hashes | None:
        large, delta = self._large, self._large.delta
        if delta is not None and delta.way == "between":
            theirs = of_source(self._work.job, large.source, self._work.lease.token)
            return Hashes(theirs.header.block, theirs.records, theirs.header.digest)
        if delta is not None:
            return joined(delta.block, self.ranges("m", delta.matching(large.upload.size)))
        block = self.hashed()
        return joined(block, self.ranges("h", large.total + 1, 1)) if block else None


def joined(block: int, found: Iterable[Matched]) -> Hashes:
    """The hashes of a whole file from those of all its ranges, in order."""
    records = bytearray()

    def leaves() -> Iterator[bytes]:
        for one in found:
            records.extend(one.records)
            yield one.leaves

    digest = file_digest(leaves())
    return Hashes(block, records, digest)
