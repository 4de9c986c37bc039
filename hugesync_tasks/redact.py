"""Takes secrets out of text before anyone reads it: logs, error sentences, tracebacks.

Rather too much than too little: a piece of text that looks like a secret is hidden even where it is none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

HIDDEN = "***"
LONGEST = 160  # characters of a name as ``plain`` gives it; of a longer one the beginning and the end

_SECRET_NAME = (
    r"(?:[\w-]*(?:password|passwd|secret|token|credential|accountkey|access[_-]?key|signature|api[_-]?key)[\w-]*|sig)"
)
_USER_INFO = re.compile(r"(://)(?:[^\s/@:'\"]*:(?!\d+(?:/|\Z))[^\s'\"]*|[^\s/@:'\"]+)@")
_HEADER = re.compile(
    r"((?:proxy-)?authorization|(?:set-)?cookie|x-amz-security-token)(['\"]?\s*[:=]\s*b?['\"]?)[^\r\n'\"]+",
    re.IGNORECASE,
)
_VALUE = r"(?:b?\"[^\"]*\"|b?'[^']*'|[^\s&;,'\"]+)"
# `name: word` within a sentence is a file's name and a reason ("token: permission denied"); a value of its own, quoted,
# with a digit, or last, is taken for a secret.
_PROSE = r"(?![^\S\r\n]+[a-z]+[,:]?[^\S\r\n]+\S)"
_ASSIGNED = re.compile(rf"(?<![\w-])({_SECRET_NAME}['\"]?\s*(?:=|:{_PROSE})\s*){_VALUE}", re.IGNORECASE)
_NAME = re.compile(rf"\A(?:{_SECRET_NAME}|(?:proxy-)?authorization|(?:set-)?cookie)\Z", re.IGNORECASE)


def redact(text: str) -> str:
    """``text`` without passwords in URLs, Authorization headers, signatures, tokens and keys."""
    text = _USER_INFO.sub(rf"\g<1>{HIDDEN}@", text)
    text = _HEADER.sub(rf"\g<1>\g<2>{HIDDEN}", text)
    return _ASSIGNED.sub(rf"\g<1>{HIDDEN}", text)


def plain(text: str) -> str:
    """``text`` as anyone may read it: no secret, no control character, at most ``LONGEST`` characters."""
    text = redact(text[: 8 * LONGEST] + text[-LONGEST:] if len(text) > 9 * LONGEST else text)
    text = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
    if len(text) > LONGEST:
        end = LONGEST // 2
        text = text[: LONGEST - end - 1] + "…" + text[-end:]
    return text


def redact_value(name: str, value: Any) -> Any:
    """``value`` of a field called ``name``, made fit for a log: by name, and within strings, lists and maps."""
    if _NAME.match(name) and value not in (None, "", 0, False, True):
        return HIDDEN
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, Mapping):
        return {k: redact_value(str(k), v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [redact_value("", v) for v in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    return redact(str(value))
