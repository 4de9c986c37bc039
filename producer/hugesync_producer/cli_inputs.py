"""What options of the command line name as files: rules, and a list of names."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from hugesync_tasks.errors import UsageError

if TYPE_CHECKING:
    from hugesync_producer.namelist import NameList


def filter_rules(filters: Iterable[tuple[str, str]], inputs: Inputs) -> tuple[tuple[str, str], ...]:
    """(flags, pattern) in the order typed, files expanded in place. Names that are no UTF-8 are in key form."""
    from hugesync_producer.filterrules import RuleReader
    from hugesync_tasks.names import encode_name

    reader = RuleReader(inputs.read)
    for option, value in filters:
        default = "+" if option.startswith("include") else "-"
        if option == "filter":
            reader.filter(encode_name(os.fsencode(value)))
        elif option.endswith("_from"):
            reader.old_file(value, default)
        else:
            reader.old(encode_name(os.fsencode(value)), default)
    return tuple(reader.rules)


class Inputs:
    """What options name as files; ``-`` is standard input, which can be read once only."""

    def __init__(self) -> None:
        self._stdin_read = False

    def stdin(self) -> IO[bytes]:
        if self._stdin_read:
            raise UsageError("two options read standard input (-), and there is only one")
        self._stdin_read = True
        return sys.stdin.buffer

    def read(self, path: str) -> bytes:
        try:
            return self.stdin().read() if path == "-" else Path(path).read_bytes()
        except OSError as error:
            raise UsageError(f"cannot read the patterns in {path}: {error.strerror}") from error


@contextmanager
def names_of(given: Mapping[str, Any], inputs: Inputs) -> Iterator[NameList | None]:
    """The list of names, in a temporary file until the block ends; None where none was given. Raises UsageError."""
    from hugesync_producer.namelist_read import read_list

    path = given["files_from"] if given["files_from"] is not None else given["files_from0"]
    if path is None:
        yield None
        return
    with read_list(path, given["files_from"] is None, inputs.stdin) as names:
        yield names
