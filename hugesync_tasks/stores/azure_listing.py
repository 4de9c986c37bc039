"""List Blobs as entries in byte order: Azure's own order is that of UTF-16, so everything is fetched and sorted first.

The metadata come along (``include=metadata``), so an entry has its mtime and mode without a HEAD.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import unquote

from hugesync_tasks.errors import Transient
from hugesync_tasks.model import Entry, Meta
from hugesync_tasks.names import is_ours
from hugesync_tasks.stores.azure_client import Ask, AzureClients
from hugesync_tasks.stores.azure_meta import meta_of
from hugesync_tasks.stores.listing import Doorkeeper, strictly_increasing
from hugesync_tasks.stores.s3_meta import entry_of, unquoted
from hugesync_tasks.stores.sorting import sorted_entries
from hugesync_tasks.token import Token

PAGE = 5000  # the most that Azure gives


@dataclass(frozen=True, slots=True)
class Row:
    """One blob. ``begun_ns``: when it was last written, None where that is not told."""

    whole: str
    size: int
    modified_ns: int | None
    version: str
    meta: Meta
    folder: bool  # of an account with a hierarchical namespace: a folder, which is no blob


@dataclass(frozen=True, slots=True)
class Page:
    rows: list[Row]
    next: str


class AzureListing:
    """The listing of one container below one prefix."""

    def __init__(self, clients: AzureClients, container: str, prefix: str, page_size: int = PAGE) -> None:
        self._clients = clients
        self._container = container
        self._prefix = prefix
        self._page_size = page_size

    def entries(self, token: Token, start_after: str, enter: Callable[[str], bool] | None) -> Iterator[Entry]:
        """See ``Store.list``."""
        admitted = sorted_entries(self._admitted(token, enter))
        later = (entry for entry in admitted if not start_after or entry.key > start_after)
        return strictly_increasing(later, f"az://{self._container}/{self._prefix}")

    def _admitted(self, token: Token, enter: Callable[[str], bool] | None) -> Iterator[Entry]:
        door = Doorkeeper(enter)
        below = len(self._prefix)
        for row in self.rows(token):
            key = row.whole[below:]
            if key and not row.folder and not is_ours(key) and door.admits(key):
                token.moved(0)
                yield entry_of(key, row.size, row.modified_ns, row.version, row.meta)

    def rows(self, token: Token, include: str = "metadata") -> Iterator[Row]:
        """In the service's order."""
        marker, seen = "", set[str]()
        while True:
            page = self.page(token, marker, include)
            yield from page.rows
            if not page.next:
                return
            if page.next in seen:  # it would never end
                raise Transient("cannot list: the service repeats a page")
            marker = page.next
            seen.add(marker)

    def page(self, token: Token, marker: str, include: str = "metadata") -> Page:
        """One answer. Raises StoreError."""
        token.requested("list")
        query = {"restype": "container", "comp": "list", "include": include, "maxresults": str(self._page_size)}
        query |= {"prefix": self._prefix} if self._prefix else {}
        query |= {"marker": marker} if marker else {}
        answer = self._clients.ask(Ask("GET", self._container, query=query), "list", "")
        try:
            page = parsed(answer.xml("list"))
        except (ValueError, TypeError) as exc:
            raise Transient("cannot list: the service's answer cannot be read") from exc
        token.check()
        return page


def parsed(root: Any) -> Page:
    """An EnumerationResults. Raises ValueError, TypeError on a broken one."""
    rows = [_row(item) for item in root.iterfind("Blobs/Blob")]
    return Page(rows, root.findtext("NextMarker") or "")


def _row(item: Any) -> Row:
    name = item.find("Name")
    whole = name.text or ""
    if name.get("Encoded") == "true":  # what XML cannot hold
        whole = unquote(whole)
    about = {child.tag: child.text or "" for child in item.find("Properties")}
    found = item.find("Metadata")
    pairs = {child.tag: child.text or "" for child in found} if found is not None else {}
    meta = meta_of(pairs)
    folder = pairs.get("hdi_isfolder", "") == "true" or about.get("ResourceType") == "directory"
    size = int(about.get("Content-Length") or 0)
    return Row(whole, size, instant_ns(about.get("Last-Modified", "")), unquoted(about.get("Etag")), meta, folder)


def instant_ns(text: str) -> int | None:
    """A date of HTTP as nanoseconds since 1970; None where it is none."""
    try:
        return int(parsedate_to_datetime(text).timestamp()) * 10**9
    except (ValueError, TypeError):
        return None
