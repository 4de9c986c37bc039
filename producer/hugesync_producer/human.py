"""How numbers and names are written for people: the one place that words sizes, durations and paths."""

from __future__ import annotations

from datetime import timedelta

from hugesync_tasks.amounts import rate as rate  # these two are of whoever words bytes, workers too
from hugesync_tasks.amounts import size as size


def bit_rate(bits_per_second: int | None) -> str:
    """Of a network interface, as its maker words it: ``10 Gbit/s``."""
    if bits_per_second is None:
        return "speed unknown"
    giga = bits_per_second / 1e9
    return f"{giga:g} Gbit/s" if giga >= 1 else f"{bits_per_second / 1e6:g} Mbit/s"


def stated_size(n: int) -> str:
    """A limit as whoever set it words it: in powers of 1000 where that comes out even, else in those of 1024."""
    for power, unit in ((12, "TB"), (9, "GB"), (6, "MB")):
        if n >= 10**power and n % 10 ** (power - 2) == 0:
            return f"{n / 10**power:g} {unit}"
    for power, unit in ((40, "TiB"), (30, "GiB"), (20, "MiB")):
        if n >= 1 << power:
            return f"{n / (1 << power):.4g} {unit}"
    return f"{n:,} bytes"


def percent(part: float, whole: float) -> str:
    """``79.2 %``; of nothing, 0."""
    return f"{100 * part / whole if whole else 0.0:.1f} %"


def count(n: int) -> str:
    return f"{n:,}"


def figure(x: float) -> str:
    """A measured number of any unit, to four digits."""
    return f"{x:,.4g}"


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.3g} ms"


def counted(n: int, noun: str) -> str:
    """``1 file``, ``2,000 files``."""
    return f"{count(n)} {noun}{'' if n == 1 else 's'}"


def duration(seconds: float) -> str:
    """Two units at most: ``4.2 seconds``, ``3 minutes and 20 seconds``, ``2 days and 5 hours``."""
    import humanize

    whole = round(seconds)
    if whole < 60:
        return humanize.precisedelta(timedelta(seconds=seconds), minimum_unit="seconds", format="%0.1f")
    step = 86400 if whole >= 100 * 86400 else 3600 if whole >= 86400 else 60 if whole >= 3600 else 1
    rounded = timedelta(seconds=round(whole / step) * step)
    return humanize.precisedelta(rounded, minimum_unit="seconds", suppress=("months", "years"), format="%d")


_FAILURES = {
    "transient": "try again",  # it may succeed when repeated
    "permanent": "not possible",
    "conflict": "conflict",
    "source_changed": "source changed",
    "needs_person": "needs action",  # permission, space, credentials
    "cancelled": "cancelled",
}


def state(name: str) -> str:
    """A ``State`` in words."""
    return {"done_with_errors": "done, with errors"}.get(name, name)


def failure(failure_class: str) -> str:
    """A ``FailureClass`` in words, at most 14 letters."""
    return _FAILURES[failure_class]


def name(key: str) -> str:
    """A key or path that cannot move the cursor or forge a line: as it is if all of it is printable, else in the
    quoting ``$'...'`` that bash and zsh read back."""
    if key.isprintable():
        return key
    return "$'" + "".join(_escaped(c) for c in key) + "'"


def plain(text: str) -> str:
    """A message with everything unprintable but line ends escaped."""
    return "".join(c if c.isprintable() or c == "\n" else _escaped(c) for c in text)


def _escaped(c: str) -> str:
    if c in "\\'":
        return "\\" + c
    if c.isprintable():
        return c
    code = ord(c)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that was no UTF-8, as Python carries it
        return f"\\x{code - 0xDC00:02x}"
    short = {"\n": "\\n", "\t": "\\t", "\r": "\\r", "\x1b": "\\e"}.get(c)
    if short:
        return short
    return f"\\x{code:02x}" if code < 0x80 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
