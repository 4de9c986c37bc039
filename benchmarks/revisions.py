"""Two revisions of our code, each from its own sources and with its own libraries, as programs to compare.

The base lies in a git worktree. Where its ``requirements.lock`` is ours byte for byte it runs with this environment's
libraries, else with an environment made of its lock.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from programs import ROOT, Program, ours


class NoSuchRevision(RuntimeError):
    """What was given names no commit of this repository, or there is no repository."""


def git(*words: str, root: Path = ROOT) -> str:
    """Raises NoSuchRevision with git's own words."""
    try:
        done = subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise NoSuchRevision("git is not installed") from None
    if done.returncode != 0:
        raise NoSuchRevision(done.stderr.strip())
    return done.stdout.strip()


@contextmanager
def checked_out(revision: str, folder: Path, root: Path = ROOT) -> Iterator[tuple[str, Path]]:
    """A short name of the commit and its files below ``folder``; both gone afterwards. Raises NoSuchRevision."""
    commit = git("rev-parse", "--verify", "--end-of-options", f"{revision}^{{commit}}", root=root)
    tree = folder / "base"
    git("worktree", "add", "--detach", str(tree), commit, root=root)
    try:
        yield git("rev-parse", "--short", commit, root=root), tree
    finally:
        git("worktree", "remove", "--force", str(tree), root=root)


def here(root: Path = ROOT) -> str:
    """A short name of what lies in the checkout: the commit, and whether files differ from it."""
    changed = " and changes" if git("status", "--porcelain", "--untracked-files=no", root=root) else ""
    return git("rev-parse", "--short", "HEAD", root=root) + changed


def libraries_of(tree: Path, environment: Path, root: Path = ROOT) -> str:
    """The Python that has the libraries which ``tree`` is locked to; made in ``environment`` where they are not ours."""
    lock = tree / "requirements.lock"
    if lock.read_bytes() == (root / "requirements.lock").read_bytes():
        return sys.executable
    print("the base has other libraries: installing them ...", file=sys.stderr)
    subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
    python = str(environment / "bin/python")
    pip = [python, "-m", "pip", "--disable-pip-version-check", "--quiet", "install", "--require-hashes"]
    subprocess.run([*pip, "-r", str(lock)], check=True)
    return python


def program_of(name: str, tree: Path, python: str) -> Program:
    """The code of ``tree``, compiled before it runs: with PYTHONDONTWRITEBYTECODE each process would compile a fresh tree anew
    (seen: 0.3 CPU-s a run)."""
    sources = [str(tree / part) for part in ("hugesync_tasks", "producer", "worker")]
    subprocess.run([python, "-m", "compileall", "-q", *sources], check=False)
    return ours(name, tree, python)


def home_of(program: Program, env: dict[str, str]) -> Path:
    """Where a program's code comes from, asked of itself."""
    asked = [*program.version[:2], "-c", "import hugesync_tasks; print(hugesync_tasks.__file__)"]
    shown = subprocess.run(asked, env={**env, **program.env}, capture_output=True, text=True, check=True).stdout
    return Path(shown.strip()).parents[1]
