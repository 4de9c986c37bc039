"""Named sets of endpoint and credentials for Google Cloud Storage and Azure Blob: ``[profiles.NAME]`` in the configuration file.

S3 has its own (``AWS_PROFILE``'s). A job's specification carries the name alone; every process looks it up in its own file.
"""

from __future__ import annotations

import os
import stat
import tomllib
from collections.abc import Mapping
from difflib import get_close_matches

from hugesync_tasks.config_model import PROFILES
from hugesync_tasks.config_places import config_file
from hugesync_tasks.errors import UsageError

SECRETS = frozenset({"connection_string", "key", "sas_token"})


def profile(name: str, known: frozenset[str]) -> Mapping[str, str]:
    """What the file says of profile ``name``, of the keys that are ``known`` to the store it is for.

    Raises UsageError: no such file or profile, an unknown key, a value that is no text, or a file with a secret that others
    may read.
    """
    path = config_file()
    try:
        with open(path, "rb") as file:
            readable = others_may_read(os.fstat(file.fileno()), os.geteuid())
            tables = tomllib.load(file).get(PROFILES, {})
    except FileNotFoundError:
        raise UsageError(f"profile {name!r}: there is no {path} that could hold it") from None
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"profile {name!r}: cannot read {path}: {type(error).__name__}") from None
    if not isinstance(tables, dict) or not isinstance(found := tables.get(name), dict):
        there = ", ".join(sorted(tables)) if isinstance(tables, dict) and tables else "none"
        raise UsageError(f"profile {name!r} is not in {path} (there: {there})")
    for key, value in found.items():
        if key not in known:
            close = get_close_matches(key, known, n=1)
            hint = f" (did you mean {close[0]}?)" if close else f" (known here: {', '.join(sorted(known))})"
            raise UsageError(f"profile {name!r} in {path}: unknown key {key!r}{hint}")
        if not isinstance(value, str) or not value:
            raise UsageError(f"profile {name!r} in {path}: {key} must be a text in quotes")  # never the value: a secret
    if readable and SECRETS & set(found):
        raise UsageError(f"profile {name!r}: {path} holds a secret and others may read it; chmod 600 it")
    return found


def others_may_read(status: os.stat_result, user: int) -> bool:
    """Whether more than ``user`` may. A group that root gave a file of its own to does not count: so a Secret that Kubernetes
    mounts reaches the pod's user, and no other way. Pure."""
    given = status.st_uid == 0 != user
    return bool(stat.S_IMODE(status.st_mode) & (0o007 if given else 0o077))
