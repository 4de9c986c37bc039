"""Every way HugeSync can fail, as one tree.

HugeSyncError
├── UsageError             bad option, missing source or bucket, wrong credentials     exit 2
├── ConflictStop           ``--fail-on-conflict`` met a rival's version                exit 3
├── Refused                stopped to protect data                                     exit 4
├── Unreachable            endpoint, broker or workers cannot be reached, or stalled   exit 5
├── Stopped                what a running call raises when it must end
│   ├── Cancelled          the job was cancelled
│   ├── LeaseLost          another worker owns the task now
│   ├── Returned           this worker ends: the task goes back, for another to go on with
│   └── DeadlineExceeded   the call's own deadline passed
└── StoreError             one operation on one key
    ├── Transient          may succeed when repeated: the retry wrapper repeats these and nothing else does
    │   ├── Throttled      503, 429, SlowDown; ``retry_after`` in seconds where the store said so
    │   └── Corrupted      a checksum did not agree on the way
    ├── Permanent          repeating changes nothing
    │   ├── NotFound
    │   ├── VersionMismatch   the object is not the version the call was conditioned on
    │   │   └── Disturbed     because we ourselves had to write it again, unchanged
    │   ├── NoSuchUpload      the multipart upload is gone (aborted, completed, expired)
    │   ├── BadName           this store cannot hold this key, or it would leave the root
    │   ├── SourceChanged     the source changed while it was read
    │   ├── TooLarge
    │   ├── NotEmpty          a folder that was to be removed holds something
    │   └── Unsupported       the store lacks the operation
    └── NeedsPerson        credentials, permission, quota, space: a person must act
        ├── AccessDenied
        ├── BadCredentials
        ├── NoSuchBucket
        └── NoSpace

A class decides once whether a failure is transient, permanent, or for a person. Vendor exceptions are translated at
the adapter's edge and kept as ``__cause__``; nothing above ``stores/`` names a vendor's exception.
"""

from __future__ import annotations

from enum import StrEnum


class FailureClass(StrEnum):
    """The ``class`` of a failure in ``--json`` (design §6)."""

    TRANSIENT = "transient"
    PERMANENT = "permanent"
    CONFLICT = "conflict"
    SOURCE_CHANGED = "source_changed"
    NEEDS_PERSON = "needs_person"
    CANCELLED = "cancelled"


class HugeSyncError(Exception):
    """Base of all errors. The first argument is a sentence for a person."""

    exit_code = 1

    def told(self) -> str:
        """The sentence by itself, for where nothing around it says what it is about."""
        return str(self) or type(self).__name__


class UsageError(HugeSyncError):
    exit_code = 2


class ConflictStop(HugeSyncError):
    exit_code = 3


class Refused(HugeSyncError):
    exit_code = 4


class Unreachable(HugeSyncError):
    exit_code = 5


class Stopped(HugeSyncError):
    """A call was told to end; what it was doing is neither done nor failed."""

    exit_code = 130


class Cancelled(Stopped):
    pass


class LeaseLost(Stopped):
    pass


class Returned(Stopped):
    pass


class DeadlineExceeded(Stopped):
    pass


class StoreError(HugeSyncError):
    """One operation on one key failed: ``StoreError(message, key)``. ``side`` (source, destination) and ``place`` (the
    location) are known to the outermost wrapper, ``stores/named.py``; "" where nobody knows."""

    failure_class = FailureClass.PERMANENT

    def __init__(self, message: str, key: str = "") -> None:
        super().__init__(message, key)  # positional, or Celery cannot carry it between processes
        self.message = message
        self.key = key
        self.side = ""
        self.place = ""

    def __str__(self) -> str:
        return self.message

    @property
    def words(self) -> str:
        """The message without the key, for where the key stands before it."""
        for named in (f"{self.key}: ", f"{self.key!r}: "):
            if self.key and self.message.startswith(named):
                return self.message[len(named) :]
        return self.message

    def of_file(self) -> str:
        """What happened to the file that is named beside it: at which end, and what."""
        return f"at the {self.side}: {self.words}" if self.side else self.words

    def told(self) -> str:
        if not self.side:
            return self.message
        return ": ".join([f"the {self.side} {self.place}", *([self.key] if self.key else []), self.words])


class Transient(StoreError):
    failure_class = FailureClass.TRANSIENT


class Throttled(Transient):
    def __init__(self, message: str, key: str = "", retry_after: float | None = None) -> None:
        super().__init__(message, key)
        self.args = (message, key, retry_after)
        self.retry_after = retry_after


class Corrupted(Transient):
    pass


class Permanent(StoreError):
    pass


class NotFound(Permanent):
    pass


class VersionMismatch(Permanent):
    failure_class = FailureClass.CONFLICT


class Disturbed(VersionMismatch):
    """The object is another version now because we ourselves had to write it again, unchanged: it is to be compared afresh, no
    rival was there."""


class NoSuchUpload(Permanent):
    pass


class BadName(Permanent):
    pass


class SourceChanged(Permanent):
    failure_class = FailureClass.SOURCE_CHANGED


class TooLarge(Permanent):
    pass


class NotEmpty(Permanent):
    pass


class Unsupported(Permanent):
    pass


class NeedsPerson(StoreError):
    failure_class = FailureClass.NEEDS_PERSON


class AccessDenied(NeedsPerson):
    pass


class BadCredentials(NeedsPerson):
    pass


class NoSuchBucket(NeedsPerson):
    pass


class NoSpace(NeedsPerson):
    pass
