"""A worker whose process ends at once when it reads the file ``poison``: what a file that crashes a decoder would do."""

from __future__ import annotations

import os

from hugesync_tasks.stores import opening
from hugesync_tasks.stores.base import Reader
from hugesync_tasks.stores.local import LocalStore
from hugesync_tasks.stores.wrapper import Wrapper
from hugesync_tasks.token import Token
from hugesync_worker.__main__ import main


class Poisoned(Wrapper):
    def open(
        self, key: str, version: str, token: Token, start: int = 0, length: int | None = None, overhead: bool = False
    ) -> Reader:
        if key.endswith("poison"):
            os._exit(9)
        return self.inner.open(key, version, token, start, length, overhead=overhead)


opening.register("file", lambda o: Poisoned(LocalStore(o.location.local, follow_links=o.links == "follow")))

if __name__ == "__main__":
    main()
