"""What became of each file, one log line each: ``file done`` and ``file skipped`` (INFO, so with ``-v``), ``file failed``
(WARNING; as text only with ``-v``, because the summary lists failures). A line that is not wanted costs one question."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping

from hugesync_producer.join import JoinItem
from hugesync_producer.judge import Extra, Fail, Judge, Missing, Send, Skip, Step, Terms
from hugesync_tasks.errors import FailureClass
from hugesync_tasks.logs import get_logger
from hugesync_tasks.model import Entry, Outcome, Removal
from hugesync_tasks.stages.begin import LargeFile
from hugesync_tasks.summary import UNMATCHED

_switch = logging.getLogger(__name__)
_log = get_logger(__name__)


class ToldJudge(Judge):
    """A judge whose skips and refusals are logged; with ``sends`` also what it sends, for a dry run, where nobody else
    will."""

    def __init__(self, terms: Terms, open_folders: Iterable[Entry], sends: bool) -> None:
        super().__init__(terms, open_folders)
        self._sends = sends

    def judge(self, item: JoinItem) -> Step:
        step = super().judge(item)
        judged(step)
        verdict = step.verdict
        if self._sends and isinstance(verdict, Send) and not verdict.transfer.check and step.counted:
            would_send(step.key, step.size)
        return step


def judged(step: Step) -> None:
    """What was decided without a worker."""
    verdict = step.verdict
    if isinstance(verdict, Skip):
        skipped(step.key, step.size, verdict.reason)
    elif isinstance(verdict, Fail):
        failed(step.key, str(verdict.failure), verdict.message)
    elif isinstance(verdict, Extra) and verdict.listed:
        failed(step.key, str(FailureClass.PERMANENT), UNMATCHED)
    elif isinstance(verdict, Missing) and _switch.isEnabledFor(logging.INFO):
        _log.info("file missing at the source", path=step.key)


def settled(key: str, size: int, outcome: Outcome) -> None:
    """The end of one entry as its worker reported it. ``size``: planned bytes."""
    if outcome.state == "failed":
        failed(key, outcome.reason, outcome.message)
    elif outcome.state == "skipped":
        skipped(key, size, outcome.reason)
    elif outcome.state == "done" and _switch.isEnabledFor(logging.INFO):
        said = {"notes": "; ".join(outcome.notes)} if outcome.notes else {}
        _log.info("file done", path=key, size=size, how=outcome.how, verified=outcome.verified, **said)


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
    if _switch.isEnabledFor(logging.INFO):
        _log.info("file skipped", path=key, size=size, reason=reason)


def failed(key: str, failure_class: str, message: str) -> None:
    if _switch.isEnabledFor(logging.WARNING):
        _log.warning("file failed", path=key, **{"class": failure_class}, reason=message)


def deleted(removal: Removal) -> None:
    if _switch.isEnabledFor(logging.INFO):
        _log.info(f"{_what(removal)} deleted", path=removal.key, size=removal.size)


def not_deleted(removal: Removal, why: str) -> None:
    if _switch.isEnabledFor(logging.INFO):
        _log.info(f"{_what(removal)} kept", path=removal.key, reason=why)


def would_delete(removal: Removal) -> None:
    """Of a dry run."""
    if _switch.isEnabledFor(logging.INFO):
        _log.info(f"{_what(removal)} would be deleted", path=removal.key, size=removal.size)


def _what(removal: Removal) -> str:
    return "file" if removal.counted else "folder"


def would_send(key: str, size: int) -> None:
    """Of a dry run."""
    if _switch.isEnabledFor(logging.INFO):
        _log.info("file would be transferred", path=key, size=size)
