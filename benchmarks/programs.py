"""The programs that are compared, each with the command a user of it would type for the same job."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

Command = Callable[[str, str], list[str]]  # (source, destination) → argv; ends are paths or bucket/prefix

ROOT = Path(__file__).resolve().parent.parent
INSTALLED = Path(sys.executable).with_name("hugesync-submit")
SUBMIT = (
    "import sys; from hugesync_producer.cli import submit; sys.exit(submit())"  # in a checkout that is not installed
)


@dataclass(frozen=True)
class Program:
    """``up``, ``down``, ``local``: None where the program cannot. Sources and destinations are folders."""

    name: str
    version: list[str]
    up: Command | None = None
    down: Command | None = None
    local: Command | None = None
    again: bool = True  # a second run finds out by itself what is there already
    env: dict[str, str] = field(default_factory=dict)  # beside what all have


def hugesync(*options: str) -> Program:
    """The code of this checkout, whatever is installed."""
    return ours(" ".join(("hugesync", *options)), ROOT, sys.executable, options)


def ours(name: str, tree: Path, python: str, options: tuple[str, ...] = ()) -> Program:
    """The code of ``tree``, run by ``python``; its workers, too, and whatever else it starts."""
    submit = [python, "-P", "-c", SUBMIT]
    run = [*submit, "--quiet", *options]
    return Program(
        name,
        [*submit, "--version"],
        up=lambda a, b: [*run, a, f"s3://{b}"],
        down=lambda a, b: [*run, f"s3://{a}", b],
        local=lambda a, b: [*run, a, b],
        env={"PYTHONPATH": os.pathsep.join(str(tree / p) for p in ("", "producer", "worker"))},
    )


def environment(endpoint: str, env: dict[str, str], state: Path) -> dict[str, str]:
    """What all programs find in their environment: one endpoint, one set of keys, no configuration of the user's."""
    path = os.pathsep.join([str(Path(sys.executable).parent), str(ROOT / ".venv-bench/bin"), os.environ["PATH"]])
    return {
        **{k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "HUGESYNC_", "RCLONE_", "PYTHONPATH"))},
        **env,
        "PATH": path,
        "XDG_STATE_HOME": str(state),
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_ENDPOINT_URL": endpoint,
        "S3_ENDPOINT_URL": endpoint,  # s5cmd's
        "RCLONE_CONFIG": str(state / "rclone.conf"),
        "RCLONE_CONFIG_BENCH_TYPE": "s3",
        "RCLONE_CONFIG_BENCH_PROVIDER": "SeaweedFS",
        "RCLONE_CONFIG_BENCH_ENV_AUTH": "true",
        "RCLONE_CONFIG_BENCH_ENDPOINT": endpoint,
        "RCLONE_CONFIG_BENCH_REGION": env["AWS_REGION"],
    }


def programs(path: str) -> tuple[list[Program], list[str]]:
    """Those found on ``path``, ours first, and the names of those that are not there."""
    peers = [
        Program(
            "s5cmd",
            ["s5cmd", "version"],
            up=lambda a, b: ["s5cmd", "--log", "error", "sync", f"{a}/", f"s3://{b}/"],
            down=lambda a, b: ["s5cmd", "--log", "error", "sync", f"s3://{a}/*", f"{b}/"],
        ),
        Program(
            "rclone",
            ["rclone", "version"],
            up=lambda a, b: ["rclone", "-q", "sync", a, f"bench:{b}"],
            down=lambda a, b: ["rclone", "-q", "sync", f"bench:{a}", b],
            local=lambda a, b: ["rclone", "-q", "sync", a, b],
        ),
        Program(
            "aws",
            ["aws", "--version"],
            up=lambda a, b: ["aws", "s3", "sync", "--only-show-errors", a, f"s3://{b}"],
            down=lambda a, b: ["aws", "s3", "sync", "--only-show-errors", f"s3://{a}", b],
        ),
        Program("rsync", ["rsync", "--version"], local=lambda a, b: ["rsync", "-a", f"{a}/", b]),
        Program("cp", ["cp", "--version"], local=lambda a, b: ["cp", "-a", a, b], again=False),
    ]
    found = [p for p in peers if shutil.which(p.version[0], path=path)]
    return [hugesync(), *found], [p.name for p in peers if p not in found]
