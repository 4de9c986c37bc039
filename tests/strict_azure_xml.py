"""The XML that Azure Blob Storage speaks: errors, listings, block lists."""

from __future__ import annotations

import re
from collections.abc import Mapping
from email.utils import formatdate
from urllib.parse import quote
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from strict_azure_checks import Refused, utf16_order
from strict_azure_state import Account, Blob

_HEAD = '<?xml version="1.0" encoding="utf-8"?>'
_ILL = re.compile("[\ufffe\uffff]")  # no XML character: such a name goes percent-encoded, says its attribute


def date(seconds: float) -> str:
    return formatdate(seconds, usegmt=True)


def error(refused: Refused, request_id: str) -> bytes:
    details = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in refused.details.items())
    message = escape(f"{refused.message}\nRequestId:{request_id}")
    return f"\ufeff{_HEAD}<Error><Code>{refused.code}</Code><Message>{message}</Message>{details}</Error>".encode()


def parse_block_list(body: bytes) -> list[tuple[str, str]]:
    """(list, block id) in the order of the body. Raises Refused (400)."""
    try:
        root = ElementTree.fromstring(body)
    except ElementTree.ParseError:
        raise Refused(400, "InvalidXmlDocument", "XML specified is not syntactically valid.") from None
    found = [(child.tag, (child.text or "").strip()) for child in root]
    if root.tag != "BlockList" or {tag for tag, _ in found} - {"Committed", "Uncommitted", "Latest"}:
        raise Refused(400, "InvalidXmlDocument", "XML specified is not syntactically valid.")
    return found


def block_list(blob: Blob, kind: str) -> bytes:
    """``kind``: committed, uncommitted or all; the uncommitted ones come in alphabetical order."""
    if kind not in ("committed", "uncommitted", "all"):
        raise Refused(400, "InvalidQueryParameterValue", QueryParameterName="blocklisttype", QueryParameterValue=kind)
    body = ""
    if kind != "uncommitted":
        body += _blocks("CommittedBlocks", blob.committed)
    if kind != "committed":
        body += _blocks("UncommittedBlocks", sorted((i, len(data)) for i, data in blob.uncommitted.items()))
    return f"{_HEAD}<BlockList>{body}</BlockList>".encode()


def _blocks(element: str, blocks: list[tuple[str, int]]) -> str:
    inner = "".join(f"<Block><Name>{escape(i)}</Name><Size>{size}</Size></Block>" for i, size in blocks)
    return f"<{element}>{inner}</{element}>" if inner else f"<{element} />"


def listing(account: Account, container: str, query: Mapping[str, str], endpoint: str, *, empty_page: bool) -> bytes:
    """One page of List Blobs. ``empty_page``: a page may hold nothing and still have a NextMarker, as the service warns."""
    include = set(filter(None, query.get("include", "").split(",")))
    unknown = include - {"metadata", "uncommittedblobs", "copy"}
    if unknown:
        raise Refused(400, "InvalidQueryParameterValue", QueryParameterName="include", QueryParameterValue=min(unknown))
    prefix, delimiter, most = query.get("prefix", ""), query.get("delimiter", ""), _maxresults(account, query)
    start = _from_marker(query["marker"]) if query.get("marker") else None
    items: list[str] = []
    more = ""
    last_prefix = None
    for name in sorted(account.container(container).blobs, key=utf16_order):
        if not name.startswith(prefix):
            continue
        at = name.find(delimiter, len(prefix)) if delimiter else -1
        shown = name if at < 0 else name[: at + len(delimiter)]
        if start is not None and utf16_order(shown) < utf16_order(start):
            continue
        blob = account.entry(container, name)
        if blob is None or (blob.content is None and "uncommittedblobs" not in include) or shown == last_prefix:
            continue
        if len(items) == most or (empty_page and start is None):
            more = _marker(shown)
            break
        last_prefix = None if at < 0 else shown
        items.append(_blob(name, blob, include) if at < 0 else f"<BlobPrefix>{_name(shown)}</BlobPrefix>")
    asked = "".join(
        f"<{element}>{escape(query[key])}</{element}>"
        for element, key in (
            ("Prefix", "prefix"),
            ("Marker", "marker"),
            ("MaxResults", "maxresults"),
            ("Delimiter", "delimiter"),
        )
        if query.get(key)
    )
    top = f'<EnumerationResults ServiceEndpoint="{escape(endpoint)}/" ContainerName="{container}">'
    blobs = f"<Blobs>{''.join(items)}</Blobs>" if items else "<Blobs />"
    return f"{_HEAD}{top}{asked}{blobs}{f'<NextMarker>{more}</NextMarker>' if more else '<NextMarker />'}</EnumerationResults>".encode()


def _maxresults(account: Account, query: Mapping[str, str]) -> int:
    value = query.get("maxresults", str(account.limits.page))
    if not value.isdecimal() or int(value) == 0:
        raise Refused(400, "OutOfRangeQueryParameterValue", QueryParameterName="maxresults", QueryParameterValue=value)
    return min(int(value), account.limits.page)


def _marker(name: str) -> str:
    return "2!" + name.encode("utf-8", "surrogatepass").hex()


def _from_marker(marker: str) -> str:
    try:
        if marker.startswith("2!"):
            return bytes.fromhex(marker[2:]).decode("utf-8", "surrogatepass")
    except ValueError:
        pass
    raise Refused(400, "OutOfRangeInput", QueryParameterName="marker", QueryParameterValue=marker)


def _name(name: str) -> str:
    if _ILL.search(name):
        return f'<Name Encoded="true">{quote(name)}</Name>'
    return f"<Name>{escape(name)}</Name>"


def _blob(name: str, blob: Blob, include: set[str]) -> str:
    if blob.content is None:
        return f"<Blob>{_name(name)}<Properties><Content-Length>0</Content-Length><BlobType>BlockBlob</BlobType></Properties></Blob>"
    properties = {
        "Creation-Time": date(blob.created),
        "Last-Modified": date(blob.modified),
        "Etag": blob.etag.strip('"'),  # without quotes here, with them in the header
        "Content-Length": str(len(blob.data)),
        **{
            field: blob.headers.get(field.lower(), "")
            for field in ("Content-Type", "Content-Encoding", "Content-Language", "Content-MD5", "Cache-Control")
        },
        "BlobType": "BlockBlob",
        "LeaseStatus": "unlocked",
        "LeaseState": "available",
        "ServerEncrypted": "true",
    }
    if "copy" in include and blob.copy:
        fields = ("Id", "Status", "Source", "Progress", "Completion-Time")
        properties |= {
            "Copy" + field.replace("-", ""): blob.copy[f"x-ms-copy-{field.lower()}"]
            for field in fields
            if f"x-ms-copy-{field.lower()}" in blob.copy
        }
    inner = "".join(f"<{key}>{escape(value)}</{key}>" if value else f"<{key} />" for key, value in properties.items())
    metadata = ""
    if "metadata" in include:
        pairs = "".join(f"<{key}>{escape(value)}</{key}>" for key, value in blob.metadata.items())
        metadata = f"<Metadata>{pairs}</Metadata>" if pairs else "<Metadata />"
    return f"<Blob>{_name(name)}<Properties>{inner}</Properties>{metadata}</Blob>"


def containers(account: Account, endpoint: str) -> bytes:
    inner = "".join(
        f"<Container><Name>{name}</Name><Properties><Last-Modified>{date(found.modified)}</Last-Modified>"
        f"<Etag>{escape(found.etag)}</Etag></Properties></Container>"
        for name, found in sorted(account.containers.items())
    )
    top = f'<EnumerationResults ServiceEndpoint="{escape(endpoint)}/">'
    return f"{_HEAD}{top}<Containers>{inner}</Containers><NextMarker /></EnumerationResults>".encode()
