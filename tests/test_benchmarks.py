"""The benchmark programs: what their tables say, and that two revisions each run their own code."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "benchmarks"))

from revisions import NoSuchRevision, checked_out, here, home_of, libraries_of, program_of  # noqa: E402
from tables import jobs_table, medians, sides_table, table, write_between  # noqa: E402


def test_a_cell_is_the_median_of_the_rounds_and_the_ratio_one_of_medians() -> None:
    cells = {"up": {"base": [(1.0, 4.0), (9.0, 4.0), (2.0, 4.0)], "here": [(1.0, 2.0), (1.0, 1.0), (50.0, 2.0)]}}

    assert medians(cells["up"]) == {"base": (2.0, 4.0), "here": (1.0, 2.0)}
    assert sides_table(cells, "base", "here").splitlines()[-1] == "| up | 2.00 / 4.00 | 1.00 / 2.00 | 0.50 | 0.50 |"


def test_ours_stands_beside_the_best_of_the_others() -> None:
    cells = {"up": {"hugesync": [(2.0, 1.0)], "rclone": [(4.0, 2.0)], "aws": [(1.0, 4.0)]}}

    assert table(cells, ["hugesync", "rclone", "aws"]).splitlines()[-1] == (
        "| up | 2.00 / 1.00 | 4.00 / 2.00 | 1.00 / 4.00 | 2.0 | 0.5 |"
    )
    assert jobs_table({"up": {"one": [(4.0, 1.0)], "two": [(2.0, 1.0)]}}, "one", "two").endswith("| 0.50 |")


def test_figures_go_between_their_marks_and_nowhere_else(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- x -->\nold\n<!-- /x -->\nafter\n")

    write_between(page, ("<!-- x -->", "<!-- /x -->"), "new")

    assert page.read_text() == "before\n<!-- x -->\nnew\n<!-- /x -->\nafter\n"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Two commits of a tiny HugeSync; the first is tagged ``old``."""
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    root = tmp_path / "repository"
    identity = {
        "GIT_AUTHOR_NAME": "a",
        "GIT_AUTHOR_EMAIL": "a@b",
        "GIT_COMMITTER_NAME": "a",
        "GIT_COMMITTER_EMAIL": "a@b",
    }
    for version in ("old", "new"):
        for package in ("hugesync_tasks", "producer/hugesync_producer", "worker/hugesync_worker"):
            (root / package).mkdir(parents=True, exist_ok=True)
            (root / package / "__init__.py").write_text(f"version = {version!r}\n")
        cli = (
            f"import hugesync_tasks, os\ndef submit():\n    print({version!r}, hugesync_tasks.version)\n    return 7\n"
        )
        (root / "producer/hugesync_producer/cli.py").write_text(cli)
        (root / "requirements.lock").write_text("same\n")
        for words in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", version], ["tag", "-f", version]):
            subprocess.run(["git", "-C", str(root), *words], check=True, env={**os.environ, **identity})
    return root


def test_each_revision_runs_its_own_code_and_nothing_stays_behind(repository: Path, tmp_path: Path) -> None:
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    with checked_out("old", tmp_path, repository) as (name, tree):
        old = program_of("base", tree, libraries_of(tree, tmp_path / "none", repository))
        new = program_of("here", repository, sys.executable)

        assert home_of(old, env) == tree
        assert home_of(new, env) == repository
        assert old.local is not None
        ran = subprocess.run(
            old.local("a", "b"), env={**env, **old.env}, cwd=repository, capture_output=True, text=True, check=False
        )  # in the folder of the other one, whose code must not be taken
        assert (ran.stdout.split(), ran.returncode) == (["old", "old"], 7)
        assert name in subprocess.run(
            ["git", "-C", str(repository), "rev-parse", "old"], capture_output=True, text=True, check=True
        ).stdout  # fmt: skip

    assert not tree.exists()
    listed = subprocess.run(
        ["git", "-C", str(repository), "worktree", "list"], capture_output=True, text=True, check=True
    )
    assert len(listed.stdout.splitlines()) == 1


def test_a_checkout_with_changes_says_so(repository: Path) -> None:
    assert "changes" not in here(repository)

    (repository / "requirements.lock").write_text("other\n")

    assert here(repository).endswith(" and changes")


@pytest.mark.parametrize("revision", ["nonsense", "--upload-pack=x", ""])
def test_what_is_no_revision_is_refused(repository: Path, tmp_path: Path, revision: str) -> None:
    with pytest.raises(NoSuchRevision), checked_out(revision, tmp_path, repository):
        pass
