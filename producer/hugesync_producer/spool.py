"""Removals noted on disk until all of them are known: memory stays the same at ten and at a hundred million."""

from __future__ import annotations

import errno
import json
import tempfile
from collections.abc import Iterator
from contextlib import suppress

from hugesync_tasks.errors import NoSpace
from hugesync_tasks.model import Removal


class Spool:
    """Written first, then read once, in order. The file has no name and goes with the process."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile("w+", encoding="utf-8")
        self.count = 0

    def add(self, removal: Removal) -> None:
        """Raises NoSpace."""
        try:
            self._file.write(json.dumps(removal.wire()) + "\n")
        except OSError as error:
            raise _no_space(error) from error
        self.count += 1

    def batches(self, size: int) -> Iterator[list[Removal]]:
        """Raises NoSpace: only now is the last of it written."""
        try:
            self._file.seek(0)
        except OSError as error:
            raise _no_space(error) from error
        batch: list[Removal] = []
        for line in self._file:
            batch.append(Removal.unwire(json.loads(line)))
            if len(batch) == size:
                yield batch
                batch = []
        if batch:
            yield batch

    def close(self) -> None:
        with suppress(OSError):  # what could not be written is not needed any more
            self._file.close()


def _no_space(error: OSError) -> Exception:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return NoSpace(f"no space to note what is to be deleted in {tempfile.gettempdir()} (TMPDIR)")
    return error
