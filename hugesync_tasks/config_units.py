"""Sizes, durations and rates as people write them, in options, environment and configuration file alike."""

from __future__ import annotations

import math
import re

import durationpy
from pydantic import ByteSize, TypeAdapter, ValidationError

from hugesync_tasks.bucket import LEAST_RATE, LEAST_REQUESTS

_SIZE = re.compile(r"\s*(?:\d+(?:\.\d+)?|\.\d+)\s*([A-Za-z]*)\s*", re.ASCII)
_SIZE_UNITS = frozenset(
    ["", "b", *"kmgtp"] + [unit for prefix in "kmgtp" for unit in (f"{prefix}b", f"{prefix}ib")]
)  # fmt: skip
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ns|us|µs|ms|s|m|h|d|w))+", re.ASCII)
_NUMBER = re.compile(r"\d+(?:\.\d+)?", re.ASCII)
_BYTES: TypeAdapter[ByteSize] = TypeAdapter(ByteSize)


def parse_size(text: str | int) -> int:
    """Bytes of ``'512MiB'``, ``'512M'`` (1024², as rsync and rclone read it), ``'512MB'`` (1000²), ``'1.5 GiB'``, ``4096``.

    Raises ValueError with a sentence.
    """
    if isinstance(text, int) and not isinstance(text, bool) and text >= 0:
        return text
    match = _SIZE.fullmatch(text) if isinstance(text, str) else None
    if match is None or match[1].lower() not in _SIZE_UNITS:
        raise ValueError(f"{text!r} is not a size; write 512MiB, 2GiB, 500MB or a number of bytes")
    # pydantic reads a lone letter as a power of 1000; everyone who comes from rsync or rclone means 1024
    single = len(match[1]) == 1 and match[1].lower() != "b"
    try:
        return int(_BYTES.validate_python(match[0].strip() + ("iB" if single else "")))
    except (ValidationError, OverflowError) as error:
        raise ValueError(f"{text!r} is not a size") from error


def parse_duration(text: str | float) -> float:
    """Seconds of ``'30m'``, ``'1h30m'``, ``'250ms'``, ``'90'`` or ``90``; never negative. Exact to the microsecond.

    Raises ValueError with a sentence.
    """
    if isinstance(text, (int, float)) and not isinstance(text, bool) and 0 <= text < float("inf"):
        return float(text)
    plain = text.strip().lower() if isinstance(text, str) else ""
    if _NUMBER.fullmatch(plain):
        return float(plain)
    if not _DURATION.fullmatch(plain):
        raise ValueError(f"{text!r} is not a duration; write 30m, 1h30m, 250ms or a number of seconds")
    seconds: float = durationpy.from_str(plain).total_seconds()
    if seconds == 0 and re.search("[1-9]", plain):
        raise ValueError(f"{text!r} is finer than a microsecond, the finest duration there is here")
    return seconds


def parse_rate(text: str | int) -> int:
    """Bytes per second of ``'10M'``, ``'1.5MiB'``, ``'10MB/s'``; a bare number is of KiB, as rsync and rclone read it; ``0`` and
    ``off`` are 0, no limit. Raises ValueError with a sentence."""
    plain = str(text).strip()
    if plain.lower() == "off":
        return 0
    size = re.sub(r"\s*(?:/s|ps)$", "", plain, flags=re.IGNORECASE)
    try:
        return _at_least(parse_size(f"{size}KiB" if _NUMBER.fullmatch(size) else size), plain)
    except ValueError as error:
        if "lowest" in str(error):
            raise
        raise ValueError(f"{text!r} is not a rate; write 10M, 1.5MiB or 10MB/s (a second), or off") from None


def _at_least(rate: int, text: str) -> int:
    if 0 < rate < LEAST_RATE:
        raise ValueError(
            f"{text} is {rate} bytes per second, and the lowest rate is {show_rate(LEAST_RATE)}: at less, requests would wait "
            "longer than stores bear"
        )
    return rate


def show_rate(rate: int) -> str:
    """A spelling that ``parse_rate`` reads back: ``10MiB/s``, ``off``."""
    if not rate:
        return "off"
    size = show_size(rate)
    return f"{size}{'B' if size.isdigit() else ''}/s"


def parse_requests(text: str | float) -> float:
    """Requests per second: ``10``, ``0.5``; ``0`` and ``off`` are 0, no limit. Raises ValueError with a sentence."""
    plain = re.sub(r"\s*/s$", "", str(text).strip())
    try:
        rate = 0.0 if plain.lower() == "off" else float(plain)
        if not math.isfinite(rate) or rate < 0:
            raise ValueError
    except ValueError:
        raise ValueError(f"{text!r} is no number of requests per second; write 10, 0.5 or off") from None
    if 0 < rate < LEAST_REQUESTS:
        raise ValueError(f"{plain} requests per second are too few, {LEAST_REQUESTS:g} is the lowest that was tried")
    return rate


def show_requests(rate: float) -> str:
    """A spelling that ``parse_requests`` reads back: ``10/s``, ``off``."""
    return f"{rate:.12g}/s" if rate else "off"


def show_size(size: int) -> str:
    """The shortest exact spelling that ``parse_size`` reads back: ``512MiB``, ``1000`` (bytes)."""
    for exponent, unit in ((4, "TiB"), (3, "GiB"), (2, "MiB"), (1, "KiB")):
        if size and size % 1024**exponent == 0:
            return f"{size // 1024**exponent}{unit}"
    return str(size)


def show_duration(seconds: float) -> str:
    """A spelling that ``parse_duration`` reads back to the same microsecond: ``30m``, ``1h30m``, ``0``."""
    whole, micro = divmod(round(seconds * 10**6), 10**6)
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    last = f"{rest}.{micro:06d}".rstrip("0") if micro else str(rest)
    shown = (f"{hours}h" if hours else "") + (f"{minutes}m" if minutes else "") + (f"{last}s" if last != "0" else "")
    return shown or "0"
