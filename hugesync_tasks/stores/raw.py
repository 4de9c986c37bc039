"""The bare requests that ``questions`` asks a store with: one method, one request, nothing checked, repaired or believed.

Keys are relative to the store's root. A condition is ``if_match`` (an ETag; "" = none) or ``absent`` (If-None-Match: *).
Every method raises ``errors.StoreError`` as the adapters do.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol


class Version(NamedTuple):
    """One version of an object in a bucket that keeps them all."""

    key: str
    id: str


class Raw(Protocol):
    """``keeps_versions``: the bucket was seen to keep what is overwritten or deleted."""

    keeps_versions: bool

    def put(
        self,
        key: str,
        body: bytes,
        *,
        if_match: str = "",
        absent: bool = False,
        crc64: int | None = None,
        md5: str = "",
    ) -> str:
        """The ETag. ``crc64`` and ``md5`` (hex) are sent as the body's, right or wrong."""
        ...

    def copy(
        self, source: str, key: str, *, source_match: str = "", if_match: str = "", absent: bool = False
    ) -> None: ...

    def delete(self, key: str, *, if_match: str = "") -> None: ...

    def read(self, key: str) -> bytes | None:
        """The whole object, None where nothing is."""
        ...

    def create(self, key: str, *, crc64: bool = False) -> str:
        """The id of a new upload; ``crc64``: one that promises a CRC64NVME of the whole."""
        ...

    def part(self, key: str, upload: str, number: int, body: bytes, *, crc64: int | None = None) -> str: ...

    def copy_part(
        self, key: str, upload: str, number: int, source: str, start: int, length: int, *, source_match: str = ""
    ) -> tuple[str, int | None]:
        """The part's ETag and the CRC64NVME in the answer, None where it has none."""
        ...

    def complete(
        self, key: str, upload: str, etags: list[str], *, if_match: str = "", absent: bool = False,
        crc64: int | None = None,
    ) -> None: ...  # fmt: skip

    def abort(self, key: str, upload: str) -> None: ...

    def parts(self, key: str, upload: str) -> list[int]:
        """The numbers of the parts an upload holds. Raises NoSuchUpload."""
        ...

    def page(self, prefix: str, size: int, *, after: str = "", next: str = "") -> tuple[list[str], str]:
        """At most ``size`` keys below ``prefix`` in the server's order, from behind the key ``after`` or from where ``next``
        points; and where the next page begins, "" at the end."""
        ...

    def uploads(self, prefix: str) -> list[tuple[str, str]]:
        """(key, id) of open uploads below ``prefix``."""
        ...

    def versions(self, prefix: str) -> list[Version]: ...

    def delete_version(self, version: Version) -> None: ...
