"""What holds for every use of obstore, whichever store it speaks to.

Only for keys that it maps to themselves; it changes or refuses the others in silence. Only its synchronous calls and
no Python callback: a Rust thread that enters Python while the interpreter ends aborts the process (seen with
``put_async`` in a daemon thread). ``GATE`` makes sure that no call is under way by then. Nothing of obstore lives at
module level, and it must never be called in a process that will fork: its threads do not survive that and the child hangs.
"""

from __future__ import annotations

import atexit
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Condition, Lock
from typing import TYPE_CHECKING

from hugesync_tasks.errors import Cancelled
from hugesync_tasks.stores.base import MIB
from hugesync_tasks.stores.refusal import Refusal
from hugesync_tasks.token import Token

if TYPE_CHECKING:
    from obstore import GetResult

SMALL = 8 * MIB  # bytes of body up to which obstore is used
LONGEST = 65.0  # seconds that one call may take: to connect, and to read
_STATUS = re.compile(r"status code: (\d{3})")
_CODE = re.compile(r"<Code>([^<]{1,100})</Code>")
_MESSAGE = re.compile(r"<Message>([^<]{1,300})</Message>")


def is_small(length: int | None, token: Token) -> bool:
    """Whether a body of ``length`` (None: not known yet) may go by obstore, which moves it in one piece: under a limit on the
    job's bandwidth only what may go at once."""
    most = token.slice(SMALL)
    return most == SMALL if length is None else length <= most


def maps_to_itself(key: str) -> bool:
    """Whether obstore sends exactly this key: no control character, no empty, ``.`` or ``..`` segment, no slash at an end."""
    if any(c < " " or c == "\x7f" for c in key):
        return False
    return all(segment not in ("", ".", "..") for segment in key.split("/"))


class _Gate:
    """Counts the calls inside Rust; closed when the interpreter ends, after which none begins and the last is awaited."""

    def __init__(self) -> None:
        self._calls = 0
        self._closed = False
        self._changed = Condition(Lock())

    @contextmanager
    def call(self) -> Iterator[None]:
        with self._changed:
            if self._closed:
                raise Cancelled("the process is ending")
            self._calls += 1
        try:
            yield
        finally:
            with self._changed:
                self._calls -= 1
                self._changed.notify_all()

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.wait_for(lambda: self._calls == 0, LONGEST)


GATE = _Gate()
atexit.register(GATE.close)  # threads are still alive then, the interpreter still whole


def refusal_of_text(text: str) -> Refusal:
    """obstore gives status and error body only in its text."""
    said = text.partition("\n\nDebug source")[0]
    status = _STATUS.search(said)
    code = _CODE.search(said)
    message = _MESSAGE.search(said)
    return Refusal(int(status[1]) if status else 0, code[1] if code else "", message[1] if message else "")


def chunks(result: GetResult, size: int, translated: Callable[[Exception], Exception]) -> Iterator[bytes]:
    """The body of ``result`` in chunks of 1 MiB or less. ``translated``: what becomes of an error of obstore's."""
    stream = None
    while True:
        try:
            with GATE.call():
                if size <= MIB:
                    chunk = bytes(result.bytes())
                else:
                    stream = stream or result.stream(min_chunk_size=MIB // 2)
                    chunk = bytes(next(stream, b""))
        except Exception as exc:
            raise translated(exc) from exc
        for at in range(0, len(chunk), MIB):
            yield chunk[at : at + MIB]
        if size <= MIB or not chunk:
            return
