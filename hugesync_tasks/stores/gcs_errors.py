"""Google Cloud Storage's refusals as our errors. What a person reads is our sentence and the store's code: no URL, no credential."""

from __future__ import annotations

import json
import re

from hugesync_tasks.errors import (
    AccessDenied,
    BadCredentials,
    Corrupted,
    NoSuchBucket,
    NotFound,
    Permanent,
    Stopped,
    StoreError,
    Throttled,
    TooLarge,
    Transient,
    Unsupported,
    VersionMismatch,
)
from hugesync_tasks.stores.refusal import retry_after as waits

_STATUSES: dict[int, tuple[type[StoreError], str]] = {
    401: (BadCredentials, "the store does not accept these credentials"),
    403: (AccessDenied, "access denied"),
    404: (NotFound, "there is no such object"),
    405: (Unsupported, "the store does not do this"),
    408: (Transient, "the request took too long"),
    409: (Transient, "a conflicting operation is in progress"),
    410: (Transient, "the store forgot what it was doing"),
    412: (VersionMismatch, "the object is another version now"),
    413: (TooLarge, "the object is larger than the store takes"),
    416: (Permanent, "the range lies past the end of the object"),
    429: (Throttled, "the store asks to slow down"),
    501: (Unsupported, "the store does not do this"),
    503: (Throttled, "the store asks to slow down"),
}
_NO_BUCKET = re.compile(r"(?i)NoSuchBucket|bucket does not exist|bucket .{0,80}not found")
_CHECKSUM = re.compile(r"(?i)crc32c|md5 hash|BadDigest|checksum")
_TOO_FAST = re.compile(r"(?i)rateLimitExceeded|quotaExceeded|SlowDown")
_XML_CODE = re.compile(r"<Code>([^<]{1,100})</Code>")
_SECRET = re.compile(r"(?i)((?:bearer|access_token|signature|credential)[=:\s]\s*)[^&\s,<>\"]+")


def error_of(status: int, body: str, retry_after: str | None, doing: str, key: str) -> StoreError:
    """The error of the tree for an answer that refuses to ``doing`` ("write") something to ``key``."""
    reason, message = _said(body)
    cls, sentence = _kind(status, f"{reason} {message}")
    shown = _SECRET.sub(r"\1***", message)[:200]
    words = f": {shown}" if shown and status not in _STATUSES else ""
    text = f"cannot {doing}: {sentence} ({status}{' ' + reason if reason else ''}){words}"
    if cls is Throttled:
        return Throttled(text, key, waits(retry_after))
    return cls(text, key)


def _kind(status: int, said: str) -> tuple[type[StoreError], str]:
    if status == 404 and _NO_BUCKET.search(said):
        return NoSuchBucket, "there is no such bucket"
    if status == 400 and _CHECKSUM.search(said):
        return Corrupted, "the store found another checksum"
    if status == 403 and _TOO_FAST.search(said):
        return Throttled, "the store asks to slow down"
    if status in _STATUSES:
        return _STATUSES[status]
    return (Transient, "the store failed") if status >= 500 else (Permanent, "the store refused")


def _said(body: str) -> tuple[str, str]:
    """The reason and the message of an error's body: JSON of the one API, XML of the other, words of an emulator."""
    try:
        error = json.loads(body)["error"]
        first = (error.get("errors") or [{}])[0]
        return str(first.get("reason", ""))[:60], str(error.get("message", ""))
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
        code = _XML_CODE.search(body)
        return (code[1], "") if code else ("", body[:200])


def translated(exc: Exception, doing: str, key: str) -> Exception:
    """Any exception of requests and google-auth as one of ours; the caller raises it ``from exc``."""
    from google.auth import exceptions as g

    if isinstance(exc, (StoreError, Stopped)):
        return exc
    if isinstance(exc, g.TransportError) or (isinstance(exc, g.GoogleAuthError) and exc.retryable):
        return Transient(f"cannot {doing}: the service of the credentials could not be reached", key)
    if isinstance(exc, g.DefaultCredentialsError):
        return BadCredentials(f"cannot {doing}: no Google credentials were found", key)
    if isinstance(exc, g.GoogleAuthError):
        return BadCredentials(f"cannot {doing}: the credentials could not be fetched ({type(exc).__name__})", key)
    name = type(exc).__name__  # not its words: they hold the URL
    return Transient(f"cannot {doing}: the store could not be reached or the connection broke ({name})", key)
