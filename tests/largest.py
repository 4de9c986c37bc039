"""The largest signature there is, 2²⁰ blocks of a file of 5 TiB, in one process as a worker's is: ``python -m tests.largest STEP``.

Prints the most memory, in bytes, that the process had from then on. Of the file itself there is nothing: a step reads what it asks for.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import hugesync_tasks.tasks  # noqa: F401  # what a worker has loaded, with a store's clients
from hugesync_tasks.delta.match import Matched, Matcher
from hugesync_tasks.delta.ops import Copy
from hugesync_tasks.filenotes import joined
from hugesync_tasks.signature.blocks import LEAF, MAX_BLOCKS, MIB, RECORD
from hugesync_tasks.signature.format import Binding, Header, Signature, write
from hugesync_tasks.stages.basis import MANY, Delta
from hugesync_tasks.stages.laying import Laid, lay
from hugesync_tasks.stores import s3  # noqa: F401
from hugesync_tasks.stores.local import LOCAL
from hugesync_tasks.stores.s3_dialects import AWS_LIMITS

BLOCK, STEP = 5 * MIB, 5 * MIB * (MAX_BLOCKS // MANY)
SIZE = BLOCK * MAX_BLOCKS - 1  # bytes; the last block is short
DELTA = Delta("upload", "v1", SIZE, BLOCK, STEP, signs=False)


def signature() -> Signature:
    return Signature(Header(Binding(SIZE, "v1"), BLOCK, bytes(32)), os.urandom(MAX_BLOCKS * RECORD))


def ranges() -> Iterator[Matched]:
    """What 4,096 tasks found, every other block of it known."""
    for start in range(0, SIZE, STEP):
        end = min(SIZE, start + STEP)
        known = [Copy(at, at, BLOCK) for at in range(start, end - BLOCK, 2 * BLOCK)]
        yield Matched(start, end, known, os.urandom(RECORD * (STEP // BLOCK)), os.urandom(32 * (STEP // LEAF)), 1)


def slide() -> None:
    """A range in which nothing is known; ``Matcher`` looks at each of its positions."""
    some = os.urandom(MIB)

    def read(_: int, view: memoryview) -> None:
        for at in range(0, len(view), MIB):
            view[at : at + MIB] = some[: len(view) - at]

    matcher = Matcher(signature())
    began_anew()
    matcher.match(read, SIZE, 0, 3 * BLOCK)
    assert matcher.slid >= 3 * BLOCK


def upload() -> None:
    """Lay out the parts of an upload."""
    kept(lay(DELTA, SIZE, ranges(), [], AWS_LIMITS, 640 * MIB, 640 * MIB))


def download() -> None:
    """Lay out a download, and look for what the file repeats."""
    delta = replace(DELTA, way="download")
    kept(lay(delta, SIZE, ranges(), [signature()], LOCAL, 640 * MIB, 640 * MIB))


def between() -> None:
    """Compare two signatures of which one half is equal."""
    mine = signature()
    theirs = bytearray(mine.records)
    theirs[: len(theirs) // 2] = os.urandom(len(theirs) // 2)
    delta, other = replace(DELTA, way="between"), replace(mine, records=bytes(theirs))
    del theirs
    began_anew()
    kept(lay(delta, SIZE, [], [mine, other], AWS_LIMITS, 640 * MIB, 640 * MIB))


def kept(laid: Laid | None) -> None:
    """As ``FileNotes.keep_rows`` does."""
    assert laid is not None
    assert len({number: row.pack() for number, row in enumerate(laid.rows)}) == laid.total


def sign() -> None:
    """Make the new file's own signature of what was left by those that read it."""
    hashes = joined(BLOCK, ranges())
    header = Header(Binding(SIZE, "v1"), BLOCK, hashes.digest)
    assert len(b"".join(write(header, [hashes.records]))) == header.length


def began_anew() -> None:
    """What was needed to prepare a step does not count."""
    Path("/proc/self/clear_refs").write_text("5")


if __name__ == "__main__":
    {step.__name__: step for step in (slide, upload, download, between, sign)}[sys.argv[1]]()
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    print(int(status["VmHWM"].split()[0]) * 1024)
