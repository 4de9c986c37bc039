"""Where a job's list of names lies, so that whoever goes on with the job has it: in its folder, or, of a fleet, in the ledger."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from hugesync_producer.jobfolder import CannotSave, JobFolder
from hugesync_producer.namelist import BLOCK, NameList
from hugesync_tasks.config_units import show_size
from hugesync_tasks.errors import UsageError
from hugesync_tasks.spec import Spec
from hugesync_tasks.state.base import Ledger

MOST = 64 << 20  # bytes of a compressed list that a ledger is given: some ten million names


@contextmanager
def kept_names(
    spec: Spec, names: NameList | None, ledger: Ledger, folder: JobFolder | None
) -> Iterator[NameList | None]:
    """The job's list, until the block ends; None where it has none. ``names``: as it was given to this run, None where the run
    goes on with what another began. Raises UsageError where it is gone, CannotSave."""
    if not spec.selection.listed:
        yield None
    elif folder is not None:
        path = folder.path / "names.gz"
        if names is not None:
            try:
                names = names.copy_to(path)
            except OSError as error:
                raise CannotSave(f"cannot write {path}: {error.strerror}") from error
        yield _whole(names or NameList(path, spec.selection.listed))
    elif names is not None:
        yield names
    else:
        with TemporaryDirectory(prefix="hugesync-names-") as temporary:
            yield _whole(_fetched(ledger, spec, Path(temporary) / "names.gz"))


def refuse_large(names: NameList | None) -> None:
    """Of a job for a fleet. Raises UsageError."""
    if names is not None and (size := names.path.stat().st_size) > MOST:
        raise UsageError(
            f"--files-from: compressed the list takes {show_size(size)}, and a fleet's ledger is given at most {show_size(MOST)}: "
            "cut it in several lists, or run it without a broker"
        )


def give(ledger: Ledger, job: str, names: NameList | None) -> None:
    """Leave the list in the ledger, for whoever goes on with the job."""
    if names is None:
        return
    with open(names.path, "rb") as file:
        ledger.put_names(job, iter(lambda: file.read(BLOCK), b""))


def _fetched(ledger: Ledger, spec: Spec, path: Path) -> NameList:
    with open(path, "wb") as out:
        for block in ledger.names(spec.job):
            out.write(block)
    return NameList(path, spec.selection.listed)


def _whole(names: NameList) -> NameList:
    if not names.whole():
        raise UsageError("the job's list of names is gone, or is not what it was: run the command that began it again")
    return names
