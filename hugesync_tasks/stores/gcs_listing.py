"""Listings of Google Cloud Storage: in the order of UTF-8, with our metadata."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from hugesync_tasks.errors import Transient
from hugesync_tasks.model import Entry
from hugesync_tasks.names import is_ours
from hugesync_tasks.stores.gcs_client import GcsClients, segment
from hugesync_tasks.stores.gcs_meta import FIELDS, entry
from hugesync_tasks.stores.listing import Doorkeeper, strictly_increasing
from hugesync_tasks.token import Token

PAGE = 1000


class GcsListing:
    """The listing of one bucket below one prefix."""

    def __init__(self, clients: GcsClients, bucket: str, prefix: str, page_size: int = PAGE) -> None:
        self._clients = clients
        self._bucket = bucket
        self._prefix = prefix
        self._page_size = page_size

    def entries(self, token: Token, start_after: str, enter: Callable[[str], bool] | None) -> Iterator[Entry]:
        """See ``Store.list``."""
        return strictly_increasing(self._rows(token, start_after, enter), f"gs://{self._bucket}/{self._prefix}")

    def _rows(self, token: Token, start_after: str, enter: Callable[[str], bool] | None) -> Iterator[Entry]:
        door = Doorkeeper(enter)
        below = len(self._prefix)
        for one in self.items(token, self._prefix + start_after if start_after else ""):
            key = str(one["name"])[below:]
            if key and key > start_after and not is_ours(key) and door.admits(key):
                yield entry(key, one)

    def items(
        self, token: Token, offset: str = "", fields: str = FIELDS, counted: str = "list"
    ) -> Iterator[dict[str, Any]]:
        """Resources from the whole key ``offset`` on, as the server orders them. Raises StoreError."""
        query = {"prefix": self._prefix, "maxResults": str(self._page_size), "projection": "noAcl"}
        query["fields"] = f"items({fields}),nextPageToken"
        if offset:
            query["startOffset"] = offset
        while True:
            token.requested(counted)
            answer = self._clients.send("GET", f"/storage/v1/b/{segment(self._bucket)}/o", "list", "", query=query)
            try:
                page = answer.json()
                found, following = page.get("items", []), page.get("nextPageToken")
            except (ValueError, AttributeError) as exc:
                raise Transient("cannot list: the store's answer cannot be read") from exc
            token.check()
            yield from found
            if not following:
                return
            if following == query.get("pageToken"):
                raise Transient("cannot list: the store repeats a page")
            query["pageToken"] = following
