"""Where a user's configuration and state lie."""

from __future__ import annotations

import os
from pathlib import Path

from hugesync_tasks.errors import UsageError


def xdg(variable: str, fallback: str) -> Path:
    """A folder of the XDG specification. Raises UsageError where there is no home folder to fall back on."""
    folder = os.environ.get(variable, "")
    if Path(folder).is_absolute():  # the XDG specification says that a relative one is to be ignored
        return Path(folder)
    try:
        return Path.home() / fallback
    except RuntimeError as error:
        raise UsageError(f"set HOME or {variable}: this user has no home folder") from error


def runtime_dir() -> Path | None:
    """``XDG_RUNTIME_DIR``, where there is such a folder."""
    folder = os.environ.get("XDG_RUNTIME_DIR", "")
    return Path(folder) if Path(folder).is_absolute() and Path(folder).is_dir() else None


def config_file() -> Path:
    """Where the configuration file is read from, whether or not it is there."""
    return xdg("XDG_CONFIG_HOME", ".config") / "hugesync" / "config.toml"
