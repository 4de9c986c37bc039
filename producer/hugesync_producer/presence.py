"""Listings of roots that may not be there: whether that is an error."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from hugesync_tasks.errors import NotFound
from hugesync_tasks.model import Entry
from hugesync_tasks.spec import Location
from hugesync_tasks.stores.base import Store
from hugesync_tasks.stores.wrapper import Wrapper
from hugesync_tasks.token import Token


class MustBeThere(Wrapper):
    """What must be there; a prefix below which nothing lies is missing, as a folder that is not there would be."""

    def __init__(self, inner: Store, location: Location) -> None:
        super().__init__(inner)
        self._location = location

    def list(self, token: Token, start_after: str = "", enter: Callable[[str], bool] | None = None) -> Iterator[Entry]:
        excluded: list[str] = []

        def asked(folder: str) -> bool:
            if enter is None or enter(folder):
                return True
            excluded[:] = [folder]
            return False

        empty = True
        for entry in self.inner.list(token, start_after, asked):
            empty = False
            yield entry
        if empty and self._location.prefix and not start_after and not excluded:
            raise NotFound(f"{self._location.display()}: nothing is there")


class MissingIsEmpty(Wrapper):
    """The destination; a root that is not there yet lists as an empty one."""

    def list(self, token: Token, start_after: str = "", enter: Callable[[str], bool] | None = None) -> Iterator[Entry]:
        try:
            yield from self.inner.list(token, start_after, enter)
        except NotFound:
            return
