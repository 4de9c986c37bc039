"""``hugesync config --init``: a configuration file that says what could be set, and sets nothing."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from hugesync_tasks.config import config_file
from hugesync_tasks.config_docs import commented_file
from hugesync_tasks.errors import UsageError


def write(force: bool) -> Path:
    """Write it where it is read from, readable by its owner alone (broker_url may hold a password), in one step: whoever reads it
    meanwhile sees the old file or the new one. Raises UsageError where there is one, unless ``force``."""
    path = config_file()
    if not force and os.path.lexists(path):
        raise _exists(path)
    target = path.resolve() if force else path  # what keeps its dotfiles elsewhere keeps them there
    temporary = target.with_name(f".{path.name}.{os.urandom(8).hex()}.part")
    try:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as out:
            out.write(commented_file())
            out.flush()
            os.fsync(out.fileno())
        if force:
            os.replace(temporary, target)
        else:
            _put(temporary, target)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from error
    finally:
        with suppress(OSError):
            os.unlink(temporary)
    return path


def _put(temporary: Path, path: Path) -> None:
    """Give ``temporary`` its name, unless that is taken, even if only since it was looked at."""
    try:
        os.link(temporary, path)
    except FileExistsError as error:
        raise _exists(path) from error
    except OSError:  # a filesystem without hard links
        if os.path.lexists(path):
            raise _exists(path) from None
        os.rename(temporary, path)


def _exists(path: Path) -> UsageError:
    return UsageError(f"{path} exists; --force writes over it")
