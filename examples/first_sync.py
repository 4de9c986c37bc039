"""A first sync, to see it work: sample data, a local S3 server, two runs with a change in between.

    make run        (or: python examples/first_sync.py)

Everything happens in a temporary folder and on 127.0.0.1; nothing is left behind.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent.parent
for source_root in ("tests", "producer", "worker", "."):
    sys.path.insert(0, str(HERE / source_root))

import servers  # noqa: E402  the servers of the tests, which live beside them
from hugesync_producer import human  # noqa: E402

FILES, LARGE = 400, 48 << 20  # small files of 4 KiB, and one large file in bytes


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="hugesync-") as folder:
        try:
            print("Starting SeaweedFS, an S3 server, on this machine ...", flush=True)
            server = servers.start_seaweedfs(Path(folder) / "s3")
        except servers.ServerMissing as why:
            print(f"first_sync: {why}", file=sys.stderr)
            return 2
        try:
            servers.s3_client(server).create_bucket(Bucket="demo")
            return show(Path(folder), server.env)
        finally:
            server.stop()


def show(folder: Path, endpoint: dict[str, str]) -> int:
    data = folder / "data"
    make_sample(data)
    mine = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "HUGESYNC_"))}
    env = {**mine, **endpoint, "XDG_STATE_HOME": str(folder / "state"), "PYTHONPATH": os.pathsep.join(sys.path)}

    print(f"\nFirst run: {FILES + 1} files, a symlink and an empty folder, all of it new.")
    first = submit(data, env)
    if first["state"] != "done":
        return 1
    print("\nNow three files are edited, one is added, and everything else stays as it is.")
    change(data)
    second = submit(data, env)
    if second["state"] != "done":
        return 1

    files, sent = second["files"], second["bytes"]["sent"]
    whole = second["bytes"]["found"]
    print(
        f"\nThe second run looked at {human.count(files['found'])} files and sent {human.count(files['done'])} of them:"
        f"\n{human.size(sent)} instead of {human.size(whole)}, {100 * (whole - sent) / whole:.2f} % saved,"
        f" in {human.duration(second['elapsed_seconds'])} instead of {human.duration(first['elapsed_seconds'])}."
    )
    return 0


def submit(data: Path, env: dict[str, str]) -> dict[str, Any]:
    """Run the command as a user would, progress and all; its JSON."""
    print(f"$ hugesync-submit --json {data} s3://demo/data", flush=True)
    command = [sys.executable, "-m", "hugesync_producer.cli", "--json", str(data), "s3://demo/data"]
    done = subprocess.run(command, env=env, stdout=subprocess.PIPE, check=False)
    result: dict[str, Any] = json.loads(done.stdout)
    files, moved = result["files"], result["bytes"]
    print(
        f"{result['state']}: found {human.count(files['found'])} · done {human.count(files['done'])}"
        f" · skipped {human.count(files['skipped'])} · failed {human.count(files['failed'])}"
        f" · sent {human.size(moved['sent'])} in {human.duration(result['elapsed_seconds'])}"
    )
    return result


def make_sample(data: Path) -> None:
    for i in range(FILES):
        path = data / f"folder-{i % 20:02}" / f"file {i:04}.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(4096))
    (data / "large.bin").write_bytes(os.urandom(LARGE))
    (data / "latest").symlink_to("large.bin")
    (data / "empty").mkdir()


def change(data: Path) -> None:
    for i in range(3):
        with (data / f"folder-{i:02}" / f"file {i:04}.bin").open("r+b") as file:
            file.write(b"edited")
    (data / "added.txt").write_text("new\n")


if __name__ == "__main__":
    sys.exit(main())
