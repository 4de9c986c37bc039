"""What became of each file, one log line each: ``file done`` and ``file skipped`` (INFO, so with ``-v``), ``file failed``
(WARNING; as text only with ``-v``, because the summary lists failures). A line that is not wanted costs one question.

The same goes as ``FileEvent`` to the observer of the job, within ``telling``: of this thread, and of those that it gives its
context to."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from hugesync_producer import itemize
from hugesync_producer.events import FileEvent
from hugesync_producer.join import JoinItem
from hugesync_producer.judge import Extra, Fail, Judge, Missing, Send, Skip, Step, Terms
from hugesync_tasks.errors import FailureClass
from hugesync_tasks.logs import get_logger
from hugesync_tasks.model import LINK_SUFFIX, Entry, Kind, Outcome, Removal, Transfer
from hugesync_tasks.spec import Spec
from hugesync_tasks.stages.begin import LargeFile
from hugesync_tasks.summary import UNMATCHED, Observer

_switch = logging.getLogger(__name__)
_log = get_logger(__name__)
_KINDS = {Kind.DIR: "folder", Kind.LINK: "link"}


@dataclass(frozen=True, slots=True)
class _Teller:
    tell: Callable[[FileEvent], object]
    spec: Spec
    to_store: bool

    def code(self, transfer: Transfer) -> str:
        options = self.spec.options
        return itemize.code(transfer.source, transfer.dest, self.to_store, self.spec.rules, options)


_teller: ContextVar[_Teller | None] = ContextVar("teller", default=None)


@contextmanager
def telling(observer: Observer, spec: Spec, to_store: bool) -> Iterator[None]:
    """Tell ``observer`` of each file, if it wants to be told. ``to_store``: the destination is one."""
    tell = getattr(observer, "on_file", None)
    before = _teller.set(_Teller(tell, spec, to_store) if tell is not None else None)
    try:
        yield
    finally:
        _teller.reset(before)


class ToldJudge(Judge):
    """A judge whose skips and refusals are logged; with ``sends`` also what it sends, for a dry run, where nobody else
    will."""

    def __init__(self, terms: Terms, open_folders: Iterable[Entry], sends: bool) -> None:
        super().__init__(terms, open_folders)
        self._sends = sends

    def judge(self, item: JoinItem) -> Step:
        step = super().judge(item)
        judged(step)
        if isinstance(step.verdict, Missing) and item.source is not None:  # by a map; of a list its reader has told
            missing(step.key)
        verdict = step.verdict
        if self._sends and isinstance(verdict, Send) and (not verdict.transfer.check or not step.counted):
            would_send(verdict.transfer)
        return step


def judged(step: Step) -> None:
    """What was decided without a worker."""
    verdict = step.verdict
    if isinstance(verdict, Skip):
        skipped(step.key, step.size, verdict.reason)
    elif isinstance(verdict, Fail):
        failed(step.key, str(verdict.failure), verdict.message, step.size)
    elif isinstance(verdict, Extra) and verdict.listed:
        _log_failed(step.key, str(FailureClass.PERMANENT), UNMATCHED)
        _tell(step.key, "extra")


def settled(transfer: Transfer, outcome: Outcome) -> None:
    """The end of one entry as its worker reported it. A folder that was made or found is told of, and not logged."""
    key, size = transfer.key, transfer.source.size  # as planned
    if outcome.state == "failed":
        failed(key, outcome.reason, outcome.message, size)
    elif transfer.source.kind is Kind.DIR:
        if outcome.state == "done":
            _tell_done(transfer, outcome)
    elif outcome.state == "skipped":
        skipped(key, size, outcome.reason)
    elif outcome.state == "done":
        _tell_done(transfer, outcome)
        if _switch.isEnabledFor(logging.INFO):
            said = {"notes": "; ".join(outcome.notes)} if outcome.notes else {}
            _log.info("file done", path=key, size=size, how=outcome.how, verified=outcome.verified, **said)


def _tell_done(transfer: Transfer, outcome: Outcome) -> None:
    if (teller := _teller.get()) is not None:
        kind, size = _KINDS.get(transfer.source.kind, "file"), transfer.source.size
        teller.tell(
            FileEvent(
                transfer.key, "done", size, kind, how=outcome.how, verified=outcome.verified, notes=outcome.notes,
                changes=teller.code(transfer),
            )
        )  # fmt: skip


def _tell(key: str, outcome: str, size: int = 0, reason: str = "", message: str = "", changes: str = "") -> None:
    """Of what is known by its key. A file that has a link's name is refused for it."""
    if (teller := _teller.get()) is not None:
        link = key.endswith(LINK_SUFFIX) and not message.startswith("reserved name")
        kind = "folder" if key.endswith("/") else "link" if link else "file"
        teller.tell(FileEvent(key, outcome, size, kind, reason, message, changes=changes))


def began(key: str, fields: Mapping[str, str]) -> None:
    """How a large file goes: in parts, or by a delta with blocks of so many bytes; ``whole`` is why there is no delta."""
    if _switch.isEnabledFor(logging.INFO):
        large = LargeFile.of(dict(fields))
        if not large.upload.id and large.delta is None:  # of a comparison
            _log.info("file compared in ranges", path=key, ranges=int(fields["total"]), reads=large.how)
            return
        found: dict[str, object] = {"whole": large.whole}
        if large.delta:
            found = {"way": large.delta.way, "block_size": large.delta.block}
        if large.upload.id:
            found |= {"how": large.how, "parts": large.total}
        what = "file begun" if large.upload.id else "delta looked for"
        _log.info(what, path=key, **{name: value for name, value in found.items() if value})


def foreseen(key: str, block: int, reused: int, whole: str) -> None:
    """Of a large file in a dry run: what its delta would reuse, or why it would go whole."""
    if (block or whole) and _switch.isEnabledFor(logging.INFO):
        found: dict[str, object] = {"whole": whole} if whole else {"block_size": block, "reused": reused}
        _log.info("delta foreseen", path=key, **found)


def skipped(key: str, size: int, reason: str) -> None:
    """``reason``: one of ``skipped_by`` (design §6)."""
    _tell(key, "skipped", size, reason)
    if _switch.isEnabledFor(logging.INFO):
        _log.info("file skipped", path=key, size=size, reason=reason)


def failed(key: str, failure_class: str, message: str, size: int = 0) -> None:
    _tell(key, "failed", size, failure_class, message)
    _log_failed(key, failure_class, message)


def _log_failed(key: str, failure_class: str, message: str) -> None:
    if _switch.isEnabledFor(logging.WARNING):
        _log.warning("file failed", path=key, **{"class": failure_class}, reason=message)


def missing(key: str) -> None:
    """A list, or a map, names it, and the source lacks it."""
    _tell(key, "missing")
    if _switch.isEnabledFor(logging.WARNING):
        _log.warning("file missing", path=key, reason="it is named, and not in the source")


def deleted(removal: Removal) -> None:
    _tell(removal.key, "deleted", removal.size, changes=itemize.DELETING)
    if _switch.isEnabledFor(logging.INFO):
        _log.info(f"{_what(removal)} deleted", path=removal.key, size=removal.size)


def not_deleted(removal: Removal, why: str) -> None:
    """It was left there on purpose."""
    _tell(removal.key, "kept", removal.size, why)
    if _switch.isEnabledFor(logging.INFO):
        _log.info(f"{_what(removal)} kept", path=removal.key, reason=why)


def delete_failed(removal: Removal, failure_class: str, message: str) -> None:
    _tell(removal.key, "not_deleted", removal.size, failure_class, message)
    _log_failed(removal.key, failure_class, message)


def would_delete(removal: Removal) -> None:
    """Of a dry run."""
    _tell(removal.key, "would_delete", removal.size, changes=itemize.DELETING)
    if _switch.isEnabledFor(logging.INFO):
        _log.info(f"{_what(removal)} would be deleted", path=removal.key, size=removal.size)


def _what(removal: Removal) -> str:
    return "file" if removal.counted else "folder"


def would_send(transfer: Transfer) -> None:
    """Of a dry run. A folder that would be made is told of, and not logged."""
    size, folder = transfer.source.size, transfer.source.kind is Kind.DIR
    if (teller := _teller.get()) is not None:
        _tell(transfer.key, "would_transfer", size, changes=teller.code(transfer))
    if _switch.isEnabledFor(logging.INFO) and not folder:
        _log.info("file would be transferred", path=transfer.key, size=size)
