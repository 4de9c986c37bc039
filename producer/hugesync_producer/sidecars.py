"""A store's listing without the signatures that are ours: they belong to their files, and are no files of the user's."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future

from hugesync_producer.aside import threads
from hugesync_tasks.model import SIDECAR_SUFFIX, Entry, Head, Kind
from hugesync_tasks.stores.wrapper import Wrapper
from hugesync_tasks.token import Token

THREADS = 16  # HEADs in flight; there is one sidecar per large file
AHEAD = 64  # entries held back while an answer is awaited


class WithoutSidecars(Wrapper):
    """Leaves out each ``*.hssig`` whose metadata say that it is ours. A user's own file of such a name stays. ``hidden``: how
    many were left out."""

    hidden = 0

    def list(self, token: Token, start_after: str = "", enter: Callable[[str], bool] | None = None) -> Iterator[Entry]:
        entries = self.inner.list(token, start_after, enter)
        if not self.limits.remote:
            yield from entries
            return
        with threads(THREADS, "sidecar") as pool:
            held: deque[tuple[Entry, Future[Head | None] | None]] = deque()
            for entry in entries:
                asked = None
                if entry.kind is Kind.FILE and entry.key.endswith(SIDECAR_SUFFIX):
                    asked = pool.submit(self.inner.head, entry.stored or entry.key, token)
                held.append((entry, asked))
                while held and (len(held) > AHEAD or held[0][1] is None or held[0][1].done()):
                    yield from self._theirs(*held.popleft())
            while held:
                yield from self._theirs(*held.popleft())

    def _theirs(self, entry: Entry, asked: Future[Head | None] | None) -> Iterator[Entry]:
        head = asked.result() if asked is not None else None
        if head is None or not head.meta.sidecar:
            yield entry
        else:
            self.hidden += 1
