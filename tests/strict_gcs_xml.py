"""The XML API of the strict fake of Google Cloud Storage, as far as obstore's client uses it."""

from __future__ import annotations

from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from xml.sax.saxutils import escape

from strict_gcs_list import Page, page
from strict_gcs_multipart import Multiparts
from strict_gcs_rules import (
    MAX_PAGE,
    Refused,
    check_digests,
    digests_of_headers,
    invalid,
    not_held,
    not_modified,
)
from strict_gcs_state import Conditions, State, Version, entity_tag, int64, stamp
from strict_gcs_wire import Reply, Request, decoded, media, object_headers

_CODES = {
    "conditionNotMet": "PreconditionFailed",
    "rateLimitExceeded": "SlowDown",
    "requestedRangeNotSatisfiable": "InvalidRange",
    "uploadTooLarge": "EntityTooLarge",
    "methodNotAllowed": "MethodNotAllowed",
    "invalid": "InvalidArgument",
}
_META = "x-goog-meta-"
_FIELDS = {
    "content-type": "contentType",
    "content-encoding": "contentEncoding",
    "content-disposition": "contentDisposition",
    "content-language": "contentLanguage",
    "cache-control": "cacheControl",
}
_KNOWN = {
    *("x-goog-if-generation-match", "x-goog-if-metageneration-match", "x-goog-hash", "x-goog-copy-source"),
    *("x-goog-copy-source-if-generation-match", "x-goog-copy-source-if-metageneration-match"),
    *("x-goog-copy-source-generation", "x-goog-metadata-directive", "x-goog-user-project", "x-goog-api-client"),
    *("x-goog-content-sha256", "x-goog-storage-class"),
}


class XmlApi:
    def __init__(self, state: State, page_size: int) -> None:
        self._state, self._page_size = state, page_size
        self.multiparts = Multiparts(state)

    def answer(self, request: Request) -> Reply:
        """Raises Refused with what Google would say."""
        bucket, _, name = request.path.removeprefix("/").partition("/")
        bucket, name = decoded(bucket), decoded(name)
        if (
            strange := {key for key in request.headers if key.startswith("x-goog-") and not key.startswith(_META)}
            - _KNOWN
        ):
            raise invalid(f"Unknown header: {', '.join(sorted(strange))} (refused by the strict fake)")
        self._state.bucket(bucket)
        if not name:
            if request.method == "GET" and request.query.get("list-type") == "2":
                return self._list(bucket, request)
            raise Refused(405, "methodNotAllowed", "Method Not Allowed")
        if "uploads" in request.query or "uploadId" in request.query:
            return self._multipart(bucket, name, request)
        match request.method:
            case "GET" | "HEAD":
                return self._get(self._found(bucket, name, request), request)
            case "PUT" if "x-goog-copy-source" in request.headers:
                return self._copy(bucket, name, request)
            case "PUT":
                return self._put(bucket, name, request)
            case "DELETE":
                self._state.mutate(bucket, name)
                self._state.delete(self._found(bucket, name, request))
                return Reply(204)
        raise Refused(405, "methodNotAllowed", "Method Not Allowed")

    def _found(self, bucket: str, name: str, request: Request) -> Version:
        version = self._state.found(bucket, name, int64(request.query, "generation"))
        _conditions(request.headers).check(version)
        return version

    def _get(self, version: Version, request: Request) -> Reply:
        _check_dates(version, request.headers)
        reply = media(version, request.headers) if request.method == "GET" else Reply(200, object_headers(version))
        return Reply(reply.status, {**reply.headers, **_own(version)}, reply.body)

    def _put(self, bucket: str, name: str, request: Request) -> Reply:
        check_digests(request.body, digests_of_headers(request.headers))
        version = self._state.insert(bucket, name, request.body, _resource(request), _conditions(request.headers))
        return Reply(200, _own(version))

    def _copy(self, bucket: str, name: str, request: Request) -> Reply:
        source_bucket, _, source_name = request.headers["x-goog-copy-source"].removeprefix("/").partition("/")
        generation = int64(request.headers, "x-goog-copy-source-generation")
        found = self._state.found(decoded(source_bucket), decoded(source_name), generation)
        _conditions(request.headers, "x-goog-copy-source-if-").check(found)
        given = {**found.fields, "metadata": found.metadata}
        if request.headers.get("x-goog-metadata-directive", "COPY") == "REPLACE":
            given = _resource(request)
        version = self._state.insert(
            bucket,
            name,
            found.data,
            given,
            _conditions(request.headers),
            components=found.components,
            with_md5=found.md5 is not None,
        )
        tag, when = escape(entity_tag(version)), stamp(version.updated)
        body = f'<CopyObjectResult><ETag>"{tag}"</ETag><LastModified>{when}</LastModified></CopyObjectResult>'
        return _xml(body, _own(version))

    def _multipart(self, bucket: str, name: str, request: Request) -> Reply:
        if "x-goog-copy-source" in request.headers:
            raise Refused(501, "NotImplemented", "A part cannot be copied from an object.")
        where = f"<Bucket>{bucket}</Bucket><Key>{escape(name)}</Key>"
        if request.method == "POST" and "uploads" in request.query:
            upload_id = self.multiparts.begin(bucket, name, _resource(request), request)
            tag = "InitiateMultipartUploadResult"
            return _xml(f"<{tag}>{where}<UploadId>{upload_id}</UploadId></{tag}>")
        if request.method == "PUT":
            return Reply(200, {"ETag": f'"{self.multiparts.part(bucket, name, request)}"'})
        if request.method == "POST":
            version = self.multiparts.complete(bucket, name, request)
            etag = f'<ETag>"{escape(entity_tag(version))}"</ETag>'
            body = f"<CompleteMultipartUploadResult>{where}{etag}</CompleteMultipartUploadResult>"
            return _xml(body, {**_own(version), "ETag": f'"{entity_tag(version)}"'})
        if request.method == "DELETE":
            self.multiparts.abort(bucket, name, request)
            return Reply(204)
        raise Refused(405, "methodNotAllowed", "Method Not Allowed")

    def _list(self, bucket: str, request: Request) -> Reply:
        query = request.query
        after = query.get("start-after", "")
        asked = int64(query, "max-keys")
        found = page(
            (version for version in self._state.bucket(bucket).values() if version.name.encode() > after.encode()),
            min(asked or MAX_PAGE, MAX_PAGE, self._page_size),
            prefix=query.get("prefix", ""),
            delimiter=query.get("delimiter", ""),
            token=query.get("continuation-token", ""),
        )
        return _xml(_listed(bucket, query.get("prefix", ""), found))


def _listed(bucket: str, prefix: str, found: Page) -> str:
    contents = "".join(
        f"<Contents><Key>{escape(version.name)}</Key><Generation>{version.generation}</Generation>"
        f"<MetaGeneration>{version.metageneration}</MetaGeneration><LastModified>{stamp(version.updated)}</LastModified>"
        f'<ETag>"{escape(entity_tag(version))}"</ETag><Size>{len(version.data)}</Size></Contents>'
        for version in found.items
    )
    common = "".join(f"<CommonPrefixes><Prefix>{escape(each)}</Prefix></CommonPrefixes>" for each in found.prefixes)
    token = f"<NextContinuationToken>{found.token}</NextContinuationToken>" if found.token else ""
    return (
        f"<ListBucketResult><Name>{bucket}</Name><Prefix>{escape(prefix)}</Prefix>"
        f"<KeyCount>{len(found.items) + len(found.prefixes)}</KeyCount>"
        f"<IsTruncated>{'true' if found.token else 'false'}</IsTruncated>{token}{contents}{common}</ListBucketResult>"
    )


def _conditions(headers: Mapping[str, str], prefix: str = "x-goog-if-") -> Conditions:
    own = prefix == "x-goog-if-"
    etags = [headers.get(name) if own else None for name in ("if-match", "if-none-match")]
    return Conditions(
        generation=int64(headers, f"{prefix}generation-match"),
        metageneration=int64(headers, f"{prefix}metageneration-match"),
        etag=etags[0] and etags[0].strip('"'),
        not_etag=etags[1] and etags[1].strip('"'),
    )


def _check_dates(version: Version, headers: Mapping[str, str]) -> None:
    """If-Unmodified-Since and If-Modified-Since, in whole seconds."""
    for name, refusal in (("if-unmodified-since", not_held()), ("if-modified-since", not_modified())):
        if name in headers:
            later = int(version.updated) > parsedate_to_datetime(headers[name]).timestamp()
            if later == (name == "if-unmodified-since"):
                raise refusal


def _resource(request: Request) -> dict[str, object]:
    """The settable fields that an upload's headers carry; metadata keys come in lower case."""
    metadata = {
        key.removeprefix(_META): value.encode("latin-1").decode("utf-8", "replace")
        for key, value in request.headers.items()
        if key.startswith(_META)
    }
    fields = {name: request.headers[header] for header, name in _FIELDS.items() if header in request.headers}
    return {**fields, "metadata": metadata, "storageClass": request.headers.get("x-goog-storage-class")}


def _own(version: Version) -> dict[str, str]:
    """What the XML API adds: its own ETag and the custom metadata."""
    head = {
        "ETag": f'"{entity_tag(version)}"',
        "x-goog-generation": str(version.generation),
        "x-goog-metageneration": str(version.metageneration),
        "x-goog-hash": object_headers(version)["x-goog-hash"],
    }
    return head | {f"{_META}{key}": value for key, value in version.metadata.items()}


def _xml(body: str, headers: Mapping[str, str] | None = None, status: int = 200) -> Reply:
    head = {"Content-Type": "application/xml; charset=UTF-8", **(headers or {})}
    return Reply(status, head, f"<?xml version='1.0' encoding='UTF-8'?>{body}".encode())


def xml_error(refusal: Refused) -> Reply:
    """The XML API's error document; a 304 has none."""
    if refusal.status == 304:
        return Reply(304)
    code = _CODES.get(refusal.reason, refusal.reason)
    if refusal.status == 404 and refusal.reason == "notFound":
        code = "NoSuchKey" if refusal.message.startswith("No such object") else "NoSuchBucket"
    elif refusal.message.startswith("Provided"):
        code = "BadDigest"
    body = f"<Error><Code>{code}</Code><Message>{escape(refusal.message)}</Message></Error>"
    return _xml(body, status=refusal.status)
