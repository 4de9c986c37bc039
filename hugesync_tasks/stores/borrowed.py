"""The same place seen from a folder below: what ``Store.within`` of an adapter with clients is made by."""

from __future__ import annotations

from copy import copy
from typing import Protocol, TypeVar


class _Rooted(Protocol):
    prefix: str


S = TypeVar("S", bound=_Rooted)


def borrowed(store: S, folder: str) -> S:
    """A copy whose root is ``folder`` (ends in ``/``) below that of ``store``, on the same clients: closing it leaves them open."""
    made = copy(store)
    made.prefix += folder
    made.__dict__["close"] = _nothing
    return made


def _nothing() -> None:
    """Whoever opened the clients closes them."""
