"""Azure's errors to ours. What a person reads is our sentence and the service's code: no URL, no signature, no credential."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from xml.etree import ElementTree

from hugesync_tasks.errors import (
    AccessDenied,
    BadCredentials,
    BadName,
    Corrupted,
    NoSpace,
    NoSuchBucket,
    NoSuchUpload,
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
from hugesync_tasks.redact import redact
from hugesync_tasks.stores.refusal import Refusal, retry_after


class ForeignBlocks(Permanent):
    """Uncommitted blocks of another program, whose ids have another length, keep ours out."""


class BlocksGone(NoSuchUpload):
    """A block list names a block that the service does not hold: collected, or a rival's commit took it away."""


_CODES: dict[str, tuple[type[StoreError], str]] = {
    "BlobNotFound": (NotFound, "there is no such blob"),
    "ResourceNotFound": (NotFound, "there is no such blob"),
    "ContainerNotFound": (NoSuchBucket, "there is no such container"),
    "ContainerBeingDeleted": (NoSuchBucket, "the container is being deleted"),
    "ContainerDisabled": (NoSuchBucket, "the container has been disabled"),
    "ConditionNotMet": (VersionMismatch, "the blob is another version now"),
    "TargetConditionNotMet": (VersionMismatch, "the blob is another version now"),
    "SourceConditionNotMet": (VersionMismatch, "the source is another version now"),
    "BlobAlreadyExists": (VersionMismatch, "there is a blob already"),
    "BlobOverwritten": (VersionMismatch, "the blob was overwritten meanwhile"),
    "InvalidBlockList": (BlocksGone, "blocks of the upload are gone"),
    "InvalidBlobOrBlock": (ForeignBlocks, "another program's unfinished upload is in the way"),
    "InvalidBlockId": (ForeignBlocks, "another program's unfinished upload is in the way"),
    "Md5Mismatch": (Corrupted, "the service found another checksum"),
    "Crc64Mismatch": (Corrupted, "the service found another checksum"),
    "InvalidMd5": (Corrupted, "the service found another checksum"),
    "InvalidCrc64": (Corrupted, "the service found another checksum"),
    "IncompleteBody": (Transient, "the body did not arrive whole"),
    "InternalError": (Transient, "the service had an internal error"),
    "OperationTimedOut": (Transient, "the operation took too long"),
    "AccountBeingCreated": (Transient, "the account is being created"),
    "PendingCopyOperation": (Transient, "a copy to this blob is in progress"),
    "BlobBeingRehydrated": (Transient, "the blob is being brought back from the archive"),
    "ServerBusy": (Throttled, "the service asks to slow down"),
    "TooManyRequests": (Throttled, "the service asks to slow down"),
    "AuthenticationFailed": (BadCredentials, "the service does not accept these credentials"),
    "InvalidAuthenticationInfo": (BadCredentials, "the service does not accept these credentials"),
    "NoAuthenticationInformation": (BadCredentials, "the service wants credentials"),
    "AuthorizationFailure": (AccessDenied, "access denied"),
    "AuthorizationPermissionMismatch": (AccessDenied, "the credentials do not allow this"),
    "AuthorizationProtocolMismatch": (AccessDenied, "the credentials do not allow this protocol"),
    "AuthorizationSourceIPMismatch": (AccessDenied, "the credentials do not allow this address"),
    "InsufficientAccountPermissions": (AccessDenied, "access denied"),
    "AccountIsDisabled": (AccessDenied, "the account is disabled"),
    "AccountRequiresHttps": (AccessDenied, "the account wants https"),
    "UnauthorizedBlobOverwrite": (AccessDenied, "the credentials do not allow overwriting"),
    "BlobImmutableDueToPolicy": (AccessDenied, "a policy keeps the blob as it is"),
    "BlobArchived": (AccessDenied, "the blob is archived and must be rehydrated first"),
    "LeaseIdMissing": (AccessDenied, "somebody holds a lease on the blob"),
    "LeaseIdMismatchWithBlobOperation": (AccessDenied, "somebody holds a lease on the blob"),
    "SnapshotsPresent": (Permanent, "the blob has snapshots, which are not ours to delete"),
    "InvalidBlobType": (Permanent, "it is a page or append blob"),
    "InvalidRange": (Permanent, "the range lies past the end of the blob"),
    "BlockCountExceedsLimit": (TooLarge, "the blob holds too many uncommitted blocks"),
    "BlockListTooLong": (TooLarge, "the blob has too many blocks"),
    "RequestBodyTooLarge": (TooLarge, "the body is larger than the service takes"),
    "InvalidUri": (BadName, "the service cannot hold this key"),
    "InvalidResourceName": (BadName, "the service cannot hold this key"),
    "NotImplemented": (Unsupported, "the service does not do this"),
    "UnsupportedHeader": (Unsupported, "the service does not do this"),
    "UnsupportedHttpVerb": (Unsupported, "the service does not do this"),
}
_STATUSES: dict[int, tuple[type[StoreError], str]] = {
    401: (BadCredentials, "the service does not accept these credentials"),
    403: (AccessDenied, "access denied"),
    404: (NotFound, "there is no such blob"),
    405: (Unsupported, "the service does not do this"),
    408: (Transient, "the request took too long"),
    409: (VersionMismatch, "somebody else is writing the blob"),
    412: (VersionMismatch, "the blob is another version now"),
    413: (TooLarge, "the body is larger than the service takes"),
    414: (BadName, "the key is too long"),
    416: (Permanent, "the range lies past the end of the blob"),
    429: (Throttled, "the service asks to slow down"),
    501: (Unsupported, "the service does not do this"),
    503: (Throttled, "the service asks to slow down"),
    507: (NoSpace, "the service has no space left"),
}


def error_of(refusal: Refusal, doing: str, key: str) -> StoreError:
    """The error of the tree for what the service answered while ``doing`` ("write") something to ``key``."""
    found = _CODES.get(refusal.code) or _STATUSES.get(refusal.status)
    if found is None:
        found = (Transient, "the service failed") if refusal.status >= 500 else (Permanent, "the service refused")
    cls, sentence = found
    unknown = refusal.code not in _CODES and refusal.message  # then the service's own words are all a person gets
    words = f": {_redacted(refusal.message)}" if unknown else ""
    message = f"cannot {doing}: {sentence} ({refusal.code or refusal.status}){words}"
    if cls is Throttled:
        return Throttled(message, key, refusal.retry_after)
    return cls(message, key)


def refusal_of(status: int, headers: Mapping[str, str], body: bytes) -> Refusal:
    """Of an answer that is no success. A HEAD has no body: its code is in a header alone."""
    code, message = str(headers.get("x-ms-error-code") or ""), ""
    with suppress(ElementTree.ParseError, ValueError):
        root = ElementTree.fromstring(body)
        code = code or (root.findtext("Code") or "")
        message = (root.findtext("Message") or "").partition("\n")[0]
    return Refusal(status, code, message, retry_after(headers.get("retry-after")))


def translated(exc: Exception, doing: str, key: str) -> Exception:
    """Any exception of the SDK as one of ours; the caller raises it ``from exc``."""
    from azure.core import exceptions as a

    if isinstance(exc, (StoreError, Stopped)):
        return exc
    if isinstance(exc, a.ClientAuthenticationError):
        return BadCredentials(f"cannot {doing}: the credentials cannot be used (is the key complete?)", key)
    if isinstance(exc, UnicodeError):
        return BadName(f"cannot {doing}: the service cannot hold this key", key)
    if isinstance(exc, ValueError) and not isinstance(exc, a.AzureError):
        return Permanent(f"cannot {doing}: wrong endpoint or account: {_redacted(str(exc))}", key)
    name = type(exc).__name__  # not its words: they hold the URL
    return Transient(f"cannot {doing}: the service could not be reached or the connection broke ({name})", key)


_URL = re.compile(r"https?://\S+")


def _redacted(words: str) -> str:
    return redact(_URL.sub("***", words))[:200]
