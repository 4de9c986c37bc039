"""Logs of every process: one line per event on stderr, as text or JSON, without secrets.

Ours (structlog) and those of libraries (``logging``) go through the same handler, so that nothing passes by the
redaction. Ours are shown from the level asked for, those of libraries from WARNING, or all of them under DEBUG but the
HTTP stack's, which logs every header.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Any, TextIO

import structlog

from hugesync_tasks.redact import redact, redact_value

OURS = "hugesync"
ONLY_IN_FILES = "hugesync.files"  # what stderr says in plain words, for ``also_to``
FORMATS = ("text", "json")


def configure(level: str = "WARNING", log_format: str = "text", with_process: bool = False) -> None:
    """Set up logging of this process; a repeat replaces the former set-up. ``log_format``: one of ``FORMATS``.
    ``with_process``: each line names its process, for a worker and its children."""
    _everywhere.clear()
    chain: list[Any] = [
        _with_context,
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        structlog.processors.format_exc_info,
        *([_process] if with_process else []),
        _without_secrets,
    ]
    handler = _CurrentStderr()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=chain,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_renderers(log_format)],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    debug = level.upper() == "DEBUG"
    root.setLevel(logging.DEBUG if debug else max(logging.WARNING, logging.getLevelName(level.upper())))
    logging.captureWarnings(log_format == "json")  # Python's own warnings would else stand there as plain text
    for name in ("botocore", "boto3", "urllib3", "s3transfer"):  # they log each header; nobody finds ours among them
        logging.getLogger(name).setLevel(logging.WARNING)
    for name in (OURS, "hugesync_tasks", "hugesync_producer", "hugesync_worker"):
        logging.getLogger(name).setLevel(level.upper())
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.PositionalArgumentsFormatter(),
            *chain,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,  # a repeat must reach the loggers that exist
    )


def also_to(write: Callable[[str], object] | None, level: str = "INFO") -> None:
    """Give each line from ``level`` on to ``write`` as well, as stderr would have it; what stderr shows stays as it is. None
    ends that. After ``configure``, and after any logger got a level of its own; a repeat of ``configure`` ends it, too."""
    root = logging.getLogger()
    stderr = next(h for h in root.handlers if isinstance(h, _CurrentStderr))
    before = next((f for f in stderr.filters if isinstance(f, _AsBefore)), None)
    if before is not None:
        before.restore()
        stderr.removeFilter(before)
        root.handlers[:] = [stderr]
    if write is None:
        return
    before = _AsBefore()
    stderr.addFilter(before)
    before.lower(logging.getLevelName(level.upper()))
    handler = _ToLines(write)
    handler.setFormatter(stderr.formatter)
    root.handlers[:] = [stderr, handler]


def get_logger(name: str = OURS, **context: Any) -> structlog.stdlib.BoundLogger:
    """A logger; ``context`` (job, task, queue) is put on each of its lines."""
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name, **context)
    return logger


def on_every_line(**context: Any) -> None:
    """Put ``context`` (the job, where a process has one) on each later line of every thread, until ``configure``."""
    _everywhere.update(context)


def of_task(job: str = "", task: str = "", more: Callable[[], Mapping[str, Any]] = dict) -> None:
    """From now on each line of this thread, and of those that ``carry`` it, is about this task; without arguments about none.
    ``more``: what it is about (path, part), asked only when there is a line."""
    _task.set((job, task, more) if job else None)
    _file.set("")


def of_file(key: str = "") -> None:
    """Each later line of this thread is about this file of its task; without one, about none of them. Cheap: it is called for
    every file."""
    _file.set(key)


def carry() -> dict[str, Any]:
    """Arguments of a thread pool whose threads work on the task at hand, so that their lines say so."""
    return {"initializer": _task.set, "initargs": (_task.get(),)}


_everywhere: dict[str, Any] = {}
_task: ContextVar[tuple[str, str, Callable[[], Mapping[str, Any]]] | None] = ContextVar("task", default=None)
_file: ContextVar[str] = ContextVar("file", default="")


def _with_context(_: Any, __: str, event: structlog.types.EventDict) -> structlog.types.EventDict:
    said = dict(_everywhere)
    if (at_hand := _task.get()) is not None:
        job, task, more = at_hand
        said |= {"job": job, "task": task, **more()}
    if key := _file.get():
        said["path"] = key
    return {**said, **event}


def _process(_: Any, __: str, event: structlog.types.EventDict) -> structlog.types.EventDict:
    return {**event, "process": os.getpid()}  # asked at each line: children inherit this set-up


def _without_secrets(_: Any, __: str, event: structlog.types.EventDict) -> structlog.types.EventDict:
    return {k: v if k.startswith("_") else redact_value(k, v) for k, v in event.items()}


def _renderers(log_format: str) -> list[Any]:
    if log_format == "json":
        return [_in_order, structlog.processors.JSONRenderer(ensure_ascii=True)]
    if log_format == "text":
        return [_one_line]
    raise ValueError(f"log format {log_format!r} is not one of {', '.join(FORMATS)}")


def _in_order(_: Any, __: str, event: structlog.types.EventDict) -> structlog.types.EventDict:
    """What every line has comes first, for the eye."""
    first = {name: event.pop(name) for name in ("time", "level", "event") if name in event}
    return {**first, **event}


def _one_line(_: Any, __: str, event: structlog.types.EventDict) -> str:
    """``TIME LEVEL event key=value``; control characters escaped, so that a file's name cannot forge a line."""
    exception = event.pop("exception", "")
    for name in ("logger", "positional_args"):
        event.pop(name, None)
    said = ("time", "level") if "level" in event else ()
    head = " ".join([*(f"{event.pop(n, '')!s:<7}".upper() for n in said), str(event.pop("event", ""))])
    line = " ".join([head, *(f"{k}={_shown(v)}" for k, v in event.items())])
    line = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in line)
    return f"{line}\n{redact(str(exception))}" if exception else line


def _shown(value: object) -> str:
    return value if isinstance(value, str) and value and " " not in value else repr(value)


if (
    not structlog.is_configured()
):  # a program that uses the library: its ``logging`` gets our lines, and stdout is its own
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.processors.format_exc_info,
            _without_secrets,
            _one_line,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


class _AsBefore(logging.Filter):
    """Lets through what the levels would have let through that the loggers had before ``lower``."""

    def __init__(self) -> None:
        super().__init__()
        known = [log for log in logging.Logger.manager.loggerDict.values() if isinstance(log, logging.Logger)]
        ours = [log for log in known if log.name.startswith(OURS) and log.level]
        self._levels = {log.name: log.level for log in [*ours, logging.getLogger()]}

    def lower(self, level: int) -> None:
        """Ours to ``level``, libraries' to WARNING or, under DEBUG, to that."""
        for name, before in self._levels.items():
            least = level if name != "root" or level <= logging.DEBUG else logging.WARNING
            logging.getLogger(None if name == "root" else name).setLevel(min(before, least))

    def restore(self) -> None:
        for name, before in self._levels.items():
            logging.getLogger(None if name == "root" else name).setLevel(before)

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name == ONLY_IN_FILES:
            return False
        name = record.name
        while name and name not in self._levels:
            name = name.rpartition(".")[0]
        return record.levelno >= self._levels[name or "root"]


class _ToLines(logging.Handler):
    def __init__(self, write: Callable[[str], object]) -> None:
        super().__init__()
        self._write = write

    def emit(self, record: logging.LogRecord) -> None:
        self._write(self.format(record))


class _CurrentStderr(logging.StreamHandler[TextIO]):
    """Writes to whatever ``sys.stderr`` is now: a live progress display puts itself in its place."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    def handleError(self, record: logging.LogRecord) -> None:
        """A stderr that nobody reads any more is no reason to stop, nor to say so there."""
        if not isinstance(sys.exc_info()[1], OSError | ValueError):
            super().handleError(record)

    @property
    def stream(self) -> TextIO:  # type: ignore[override]
        return sys.stderr
