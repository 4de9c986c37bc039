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

from growth import files_table, sizes_table  # noqa: E402
from profile_kinds import BARE, IMPORTS, KINDS, OTHER, counted, kind_of  # noqa: E402
from profile_kinds import table as kinds_table  # noqa: E402
from revisions import NoSuchRevision, checked_out, here, home_of, libraries_of, program_of  # noqa: E402
from scaling import table as scaling_table  # noqa: E402
from tables import jobs_table, medians, sides_table, table, write_between  # noqa: E402
from threads_processes import table as threads_table  # noqa: E402

from processes import wait_until  # noqa: E402
from resident import OWN, Watch  # noqa: E402


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


@pytest.mark.parametrize(
    ("frames", "kind"),
    [
        (["main (x/hugesync_producer/cli.py:1)", "send (site-packages/botocore/endpoint.py:5)", "recv (socket.py:7)"], "network"),
        (["main (x/hugesync_worker/a.py:1)", "poll (site-packages/kombu/x.py:5)", "read (site-packages/redis/c.py:7)"], "Celery"),
        (["run (x/hugesync_tasks/tasks.py:1)", "claim (x/hugesync_tasks/state/redis.py:5)", "read (redis/c.py:7)"], "ledger (Redis)"),
        (["run (x/hugesync_tasks/stages/execute.py:1)", "read (x/hugesync_tasks/stores/local_read.py:5)"], "disk"),
        (["put (x/hugesync_tasks/stores/s3.py:1)", "crc (site-packages/awscrt/checksums.py:5)"], "hashing and matching"),
        (["run (x/hugesync_tasks/tasks.py:1)", "info (site-packages/structlog/x.py:5)", "dumps (json/__init__.py:2)"], "logging and display"),
        (["x (a/hugesync_tasks/stores/s3.py:1)", "_find (<frozen importlib._bootstrap>:5)", "y (b/botocore/z.py:1)"], IMPORTS),
        (["<module> (something.py:1)"], OTHER),
        ([], BARE),
    ],
)  # fmt: skip
def test_a_sample_belongs_to_the_innermost_frame_that_has_a_kind(frames: list[str], kind: str) -> None:
    assert kind_of(frames) == kind


def test_samples_are_told_apart_by_process_and_every_one_is_counted() -> None:
    producer = 'process 1:"python -m hugesync_producer.cli"'
    worker = 'process 2:"python -m hugesync_worker --broker x"'
    child = 'process 3:"python -m hugesync_worker --broker x"'
    disk, plan = "read (x/hugesync_tasks/stores/local.py:1)", "scan (x/hugesync_producer/scan.py:1)"

    found = counted(
        [f"{producer};{plan} 3", f"{producer};{worker};{child};{disk} 150", f"{producer};{worker};{disk} 50", ""]
    )

    assert dict(found) == {("scan and plan", "producer"): 3, ("disk", "its children"): 150, ("disk", "worker"): 50}
    assert kinds_table(found).splitlines()[2] == "| disk | 0.00 | 0.50 | 1.50 | 2.00 | 99 % |"


def test_every_path_of_ours_that_has_a_kind_exists() -> None:
    bases = (ROOT, ROOT / "producer", ROOT / "worker")
    ours = [part for part, _ in KINDS if part.startswith("hugesync_")]

    assert [part for part in ours if not any(list(base.glob(f"{part.rstrip('/')}*")) for base in bases)] == []


def test_what_a_file_and_a_gib_cost_is_over_the_smallest_run() -> None:
    def cost(wall: float, cpu: float) -> dict[str, float]:
        return {"wall": wall, "cpu": cpu, "peak_kib": 2048}

    files = files_table({10: {"up": [cost(1, 1)]}, 1010: {"up": [cost(2, 3), cost(9, 3), cost(2, 3)]}})
    assert files.splitlines()[-1] == "| 1,010 | up | 2.00 | 3.00 | 2.00 | 2 |"
    sizes = sizes_table({1 << 20: {"up": [cost(1, 1)]}, (1 << 30) + (1 << 20): {"up": [cost(5, 3)]}})
    assert sizes.splitlines()[-1].endswith("| up | 5.00 | 3.00 | 205 | 2.00 | 2 |")


def test_threads_stand_in_rows_and_processes_in_columns() -> None:
    found = {(t, p): [(float(t), float(p))] for t in (1, 8) for p in (1, 4)}

    assert threads_table(found, [1, 8], [1, 4]).splitlines()[2:] == [
        "| 1 thread | 1.00 / 1.00 | 1.00 / 4.00 |",
        "| 8 threads | 8.00 / 1.00 | 8.00 / 4.00 |",
    ]


def test_the_memory_of_a_worker_stands_beside_its_speed_the_most_and_not_the_middle() -> None:
    mib = 1 << 20
    rounds = {
        2: [(5.0, 2.0, 0.5, 90 * mib, 200 * mib)],
        1: [(9.0, 2.0, 0.3, mib, mib), (11.0, 4.0, 0.5, 80 * mib, mib)],
    }

    assert scaling_table("x", 1, rounds).splitlines()[-2:] == [
        "| 1 | 10.0 / 3.0 | 1.00 | 40% | 80 | 1 |",
        "| 2 | 5.0 / 2.0 | 2.00 | 50% | 90 | 200 |",
    ]


def test_a_worker_is_watched_with_its_children_and_the_highest_is_kept() -> None:
    child = "import subprocess, sys; held = b'x' * (64 << 20); print('.', flush=True); sys.stdin.read()"
    main = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    worker = subprocess.Popen([sys.executable, "-c", main], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert worker.stdout is not None
    with Watch() as watch:
        watch.also(worker.pid)
        assert worker.stdout.read(1) == b"."
        wait_until(lambda: watch.largest > 64 << 20, what="a look")
        worker.communicate()
    assert watch.together > watch.largest > 64 << 20
    assert watch.beside == max(0, watch.together - 2 * OWN)
