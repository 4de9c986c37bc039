"""What reads another blob: Put Block From URL, Put Blob From URL, Copy Blob From URL (sync) and Copy Blob.

The source is a blob of the same server. It is authorised by the SAS in its URL; only Copy Blob takes the signature of the
request for sources of its own account. A source that may not be read is CannotVerifyCopySource with the status that reading
it would have had; without any SAS that is 409, as accounts are born without public access."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from urllib.parse import unquote, urlsplit

from strict_azure_auth import Authority, parse_query
from strict_azure_checks import Refused, byte_range, check_checksums
from strict_azure_state import Account, Blob, Conditions
from strict_azure_xml import date

_URL_BYTES = 2 * 1024


class Sources:
    def __init__(self, account: Account, authority: Authority, netloc: str) -> None:
        self.account, self.authority, self.netloc = account, authority, netloc

    def read(self, headers: Mapping[str, str], *, signed: bool = False) -> tuple[Blob, bytes]:
        """The source blob and the bytes of it that are asked for, its conditions and checksums kept.

        ``signed``: the request's own SharedKey opens the source. Raises Refused."""
        url = headers["x-ms-copy-source"]
        split = urlsplit(url)
        if len(url) > _URL_BYTES or split.scheme not in ("http", "https") or not url.isascii() or " " in url:
            raise Refused(400, "InvalidHeaderValue", HeaderName="x-ms-copy-source", HeaderValue=url)
        try:
            blob = self._open(split.netloc, split.path, split.query, signed)
        except Refused as refused:
            raise _unverified(refused) from None
        Conditions.of(headers, "x-ms-source-").of_source(blob)
        data = blob.data
        if "x-ms-source-range" in headers:
            try:
                start, end = byte_range(headers["x-ms-source-range"], len(data))
            except Refused as refused:
                raise _unverified(refused) if refused.status == 416 else refused from None
            data = data[start:end]
        check_checksums(data, headers.get("x-ms-source-content-md5"), headers.get("x-ms-source-content-crc64"))
        return blob, data

    def _open(self, netloc: str, path: str, query: str, signed: bool) -> Blob:
        root, _, rest = unquote(path).lstrip("/").partition("/")
        container, _, name = rest.partition("/")
        if netloc != self.netloc or root != self.authority.account or not name:
            raise Refused(404, "ResourceNotFound", "The specified resource does not exist.")
        given = parse_query(query)
        if "sig" in given:
            self.authority.check_sas(path, given, "r")
        elif not signed:
            raise Refused(409, "PublicAccessNotPermitted", "Public access is not permitted on this storage account.")
        return self.account.existing(container, name)


def copied(source: Blob, data: bytes, url: str, metadata: dict[str, str], *, blocks: bool, now: float) -> Blob:
    """The blob a copy makes. ``blocks``: its committed block list comes along. Given metadata replaces the source's."""
    blob = Blob(data, headers=dict(source.headers), metadata=metadata or dict(source.metadata))
    if blocks:
        blob.committed = list(source.committed)
        blob.copy = {
            "x-ms-copy-id": str(uuid.uuid4()),
            "x-ms-copy-status": "success",
            "x-ms-copy-source": url.partition("?")[0],
            "x-ms-copy-progress": f"{len(data)}/{len(data)}",
            "x-ms-copy-completion-time": date(now),
        }
    return blob


def _unverified(refused: Refused) -> Refused:
    return Refused(
        refused.status, "CannotVerifyCopySource", refused.message,
        CopySourceStatusCode=str(refused.status), CopySourceErrorCode=refused.code, CopySourceErrorMessage=refused.message,
    )  # fmt: skip
