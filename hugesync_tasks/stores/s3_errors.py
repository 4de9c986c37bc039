"""Vendor errors to ours. What a person reads is our sentence and the store's code: no URL, no signature, no credential."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

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
    StoreError,
    Throttled,
    TooLarge,
    Transient,
    Unsupported,
    VersionMismatch,
)
from hugesync_tasks.stores.refusal import Refusal, retry_after

_CODES: dict[str, tuple[type[StoreError], str]] = {
    "NoSuchKey": (NotFound, "there is no such object"),
    "NotFound": (NotFound, "there is no such object"),
    "NoSuchBucket": (NoSuchBucket, "there is no such bucket"),
    "NoSuchUpload": (NoSuchUpload, "the multipart upload is gone"),
    "PreconditionFailed": (VersionMismatch, "the object is another version now"),
    "ConditionalRequestConflict": (VersionMismatch, "somebody else is writing the object"),
    "BadDigest": (Corrupted, "the store found another checksum"),
    "InvalidDigest": (Corrupted, "the store found another checksum"),
    "XAmzContentSHA256Mismatch": (Corrupted, "the store found another checksum"),
    "XAmzContentChecksumMismatch": (Corrupted, "the store found another checksum"),
    "IncompleteBody": (Transient, "the body did not arrive whole"),
    "RequestTimeout": (Transient, "the store waited too long for the body"),
    "OperationAborted": (Transient, "a conflicting operation is in progress"),
    "InternalError": (Transient, "the store had an internal error"),
    "SlowDown": (Throttled, "the store asks to slow down"),
    "Throttling": (Throttled, "the store asks to slow down"),
    "ThrottlingException": (Throttled, "the store asks to slow down"),
    "ThrottledException": (Throttled, "the store asks to slow down"),
    "RequestThrottled": (Throttled, "the store asks to slow down"),
    "RequestThrottledException": (Throttled, "the store asks to slow down"),
    "TooManyRequests": (Throttled, "the store asks to slow down"),
    "TooManyRequestsException": (Throttled, "the store asks to slow down"),
    "RequestLimitExceeded": (Throttled, "the store asks to slow down"),
    "BandwidthLimitExceeded": (Throttled, "the store asks to slow down"),
    "AccessDenied": (AccessDenied, "access denied"),
    "AllAccessDisabled": (AccessDenied, "access to this object has been disabled"),
    "AccountProblem": (AccessDenied, "the account has a problem"),
    "InvalidObjectState": (AccessDenied, "the object is archived and must be restored first"),
    "InvalidAccessKeyId": (BadCredentials, "the access key is not known to the store"),
    "SignatureDoesNotMatch": (BadCredentials, "the secret key is wrong"),
    "ExpiredToken": (BadCredentials, "the session token has expired"),
    "InvalidToken": (BadCredentials, "the session token is not valid"),
    "TokenRefreshRequired": (BadCredentials, "the session token must be renewed"),
    "AuthorizationHeaderMalformed": (BadCredentials, "the store refuses the signature (wrong region?)"),
    "RequestTimeTooSkewed": (BadCredentials, "this host's clock and the store's differ too much"),
    "EntityTooLarge": (TooLarge, "the object is larger than the store takes"),
    "KeyTooLongError": (BadName, "the key is too long"),
    "KeyTooLong": (BadName, "the key is too long"),
    "InvalidObjectName": (BadName, "the store cannot hold this key"),
    "InvalidURI": (BadName, "the store cannot hold this key"),
    "NotImplemented": (Unsupported, "the store does not do this"),
    "MethodNotAllowed": (Unsupported, "the store does not do this"),
    "InvalidRange": (Permanent, "the range lies past the end of the object"),
    "QuotaExceeded": (NoSpace, "the quota is used up"),
    "InsufficientStorage": (NoSpace, "the store has no space left"),
    "XMinioStorageFull": (NoSpace, "the store has no space left"),
}
_STATUSES: dict[int, tuple[type[StoreError], str]] = {
    401: (BadCredentials, "the store does not accept these credentials"),
    403: (AccessDenied, "access denied"),
    404: (NotFound, "there is no such object"),
    405: (Unsupported, "the store does not do this"),
    408: (Transient, "the request took too long"),
    409: (VersionMismatch, "somebody else is writing the object"),
    412: (VersionMismatch, "the object is another version now"),
    413: (TooLarge, "the object is larger than the store takes"),
    416: (Permanent, "the range lies past the end of the object"),
    429: (Throttled, "the store asks to slow down"),
    501: (Unsupported, "the store does not do this"),
    503: (Throttled, "the store asks to slow down"),
    507: (NoSpace, "the store has no space left"),
}
_SECRET = re.compile(r"(?i)((?:x-amz-[a-z-]*|signature|credential|security-token|awsaccesskeyid)[=:]\s*)[^&\s,<>\"]+")


def error_of(refusal: Refusal, doing: str, key: str) -> StoreError:
    """The error of the tree for what the store answered while ``doing`` ("write") something to ``key``."""
    found = _CODES.get(refusal.code)
    if found is None and refusal.code.startswith("KMS."):
        found = _of_key_service(refusal.code)
    if found is None:
        found = _STATUSES.get(refusal.status)
    if found is None:
        transient = refusal.status >= 500 or refusal.status == 0
        found = (Transient, "the store failed") if transient else (Permanent, "the store refused")
    cls, sentence = found
    shown = refusal.code or (str(refusal.status) if refusal.status else "no answer")
    unknown = refusal.code not in _CODES and refusal.message  # then the store's own words are all a person gets
    words = f": {_redacted(refusal.message)}" if unknown else ""
    message = f"cannot {doing}: {sentence} ({shown}){words}"
    if cls is Throttled:
        return Throttled(message, key, refusal.retry_after)
    return cls(message, key)


def _of_key_service(code: str) -> tuple[type[StoreError], str]:
    """An error of the service that holds the encryption keys, passed on by the store."""
    if "Throttling" in code:
        return Throttled, "the service of the encryption key asks to slow down"
    if "Internal" in code or "Timeout" in code:
        return Transient, "the service of the encryption key failed"
    return AccessDenied, "the encryption key cannot be used"


def refusal_of_response(response: Mapping[str, Any]) -> Refusal:
    """Of a botocore ``ClientError.response``."""
    error = response.get("Error", {})
    about = response.get("ResponseMetadata", {})
    status = int(about.get("HTTPStatusCode", 0) or 0)
    code = str(error.get("Code", ""))
    if code.isdigit():  # a HEAD has no body: botocore gives the status for a code
        status, code = status or int(code), ""
    return Refusal(
        status, code, str(error.get("Message", "")), retry_after(about.get("HTTPHeaders", {}).get("retry-after"))
    )


def translated(exc: Exception, doing: str, key: str) -> StoreError:
    """Any exception of botocore as one of ours; the caller raises it ``from exc``."""
    from botocore import exceptions as b

    if isinstance(exc, StoreError):
        return exc
    if isinstance(exc, b.ClientError):
        return error_of(refusal_of_response(exc.response), doing, key)
    if isinstance(exc, (b.NoCredentialsError, b.PartialCredentialsError)):
        return BadCredentials(f"cannot {doing}: no credentials were found", key)
    if isinstance(exc, b.ProfileNotFound):
        return BadCredentials(f"cannot {doing}: {exc}", key)
    if isinstance(exc, (b.CredentialRetrievalError, b.TokenRetrievalError, b.SSOError, b.UnauthorizedSSOTokenError)):
        return BadCredentials(f"cannot {doing}: the credentials could not be fetched ({type(exc).__name__})", key)
    if isinstance(exc, (b.ParamValidationError, UnicodeError)):
        return BadName(f"cannot {doing}: the store cannot hold this key", key)
    if isinstance(exc, (b.NoRegionError, b.InvalidRegionError, ValueError)):
        return Permanent(f"cannot {doing}: wrong endpoint or region: {_redacted(str(exc))}", key)
    name = type(exc).__name__  # not its words: they hold the URL
    return Transient(f"cannot {doing}: the store could not be reached or the connection broke ({name})", key)


def _redacted(words: str) -> str:
    return _SECRET.sub(r"\1***", words)[:200]
