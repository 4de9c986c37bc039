"""What a job of a fleet leaves in the ledger so that a worker can go on with it: which roots its coordinator must see, and how
a worker tells that its folder of a root's name is the submitter's."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

from hugesync_tasks.names import decode_name, encode_name
from hugesync_tasks.register import MARK
from hugesync_tasks.spec import Location, Spec
from hugesync_tasks.state.base import Ledger

SAMPLES = 3  # files of an end that is read; one that is found as it was is enough, for any may change
LOOKED_AT = 200  # entries in which they are sought


def offer(ledger: Ledger, spec: Spec) -> None:
    """Say that the job wants a coordinator, until ``Ledger.withdraw``. A comparison leaves no mark: both its roots are known by
    files in them."""
    needs: list[dict[str, Any]] = []
    if spec.source.scheme == "file":
        needs.append({**_root(spec.source), "samples": _samples(spec.source, spec.single_source)})
    if spec.dest.scheme == "file" and spec.compares:
        needs.append({**_root(spec.dest), "samples": _samples(spec.dest, spec.single_file)})
    elif spec.dest.scheme == "file":
        needs.append({**_root(spec.dest), "dest": True, "mark": _mark(spec)})
    ledger.offer(spec.job, json.dumps({"roots": needs}))


def leave_mark(end: Location, job: str) -> str:
    """Leave the job's mark at the top of a destination root, so that workers can tell that theirs is the same folder. "" where
    this process may not write: then only the workers' own tokens keep them together."""
    top = _top(end)
    try:
        top.mkdir(parents=True, exist_ok=True)
        (top / f"{MARK}{job}").touch()
    except OSError:
        return ""
    return str(top / f"{MARK}{job}")


def remove_marks(spec: Spec) -> None:
    if spec.dest.scheme == "file" and not spec.compares:
        with suppress(OSError):
            (_top(spec.dest) / f"{MARK}{spec.job}").unlink()


def _mark(spec: Spec) -> str:
    """The mark's name, where there is a folder to leave it in. None is made for it: a job with nothing to do changes nothing."""
    return f"{MARK}{spec.job}" if _top(spec.dest).is_dir() and leave_mark(spec.dest, spec.job) else ""


def _root(end: Location) -> dict[str, Any]:
    return {"name": end.root, "path": end.path, "shown": end.display()}


def _top(end: Location) -> Path:
    """The folder that the root's name stands for, as this process has it."""
    top = Path(end.local)
    return top.parents[len(Path(end.path).parts) - 1] if end.path else top


def _samples(end: Location, single: str) -> list[list[Any]]:
    """Key, size, mtime (ns) and place below the root of a few files of an end, or of its ``single`` one."""
    folder = os.fsencode(end.local)
    names = [decode_name(single)] if single else islice(_files(folder), SAMPLES)
    found = []
    for name in names:
        with suppress(OSError):
            st = os.stat(os.path.join(folder, name))
            place = os.path.join(os.fsencode(end.path), name)
            found.append([encode_name(name), st.st_size, st.st_mtime_ns, place.hex()])
    return found


def _files(folder: bytes) -> Iterator[bytes]:
    """Regular files of a tree, relative, breadth first, among the first entries of each folder looked at."""
    folders, looked = [b""], 0
    while folders and looked < LOOKED_AT:
        below = folders.pop(0)
        with suppress(OSError), os.scandir(os.path.join(folder, below)) as entries:
            for entry in islice(entries, LOOKED_AT - looked):
                looked += 1
                if entry.is_file(follow_symlinks=False):
                    yield os.path.join(below, entry.name)
                elif entry.is_dir(follow_symlinks=False):
                    folders.append(os.path.join(below, entry.name))
