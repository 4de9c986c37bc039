"""What a change costs: a large file on an S3 server of this machine, 4 KiB of it changed, and only a part of it sent again.

python examples/delta_demo.py [MIB]            size of the file, 64 unless told
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
for source_root in ("tests", "producer", "worker", "."):
    sys.path.insert(0, str(HERE / source_root))

import servers  # noqa: E402  the servers of the tests, which live beside them
from hugesync_producer import human  # noqa: E402
from hugesync_producer.events import FileEvent  # noqa: E402
from hugesync_producer.running import sync_events  # noqa: E402
from hugesync_tasks.summary import State, Summary  # noqa: E402

MIB = 1 << 20


def main(args: list[str]) -> int:
    size = int(args[0] if args else 64) * MIB
    with tempfile.TemporaryDirectory(prefix="hugesync-") as folder:
        try:
            server = servers.start_seaweedfs(Path(folder) / "s3")
        except servers.ServerMissing as why:
            print(f"delta_demo: {why}", file=sys.stderr)
            return 2
        try:
            servers.s3_client(server).create_bucket(Bucket="demo")
            # the library finds endpoint and credentials where the AWS tools do, and keeps its state where XDG says
            os.environ.update(server.env, XDG_STATE_HOME=str(Path(folder) / "state"))
            return demonstrate(Path(folder) / "data", size)
        finally:
            server.stop()


def demonstrate(data: Path, size: int) -> int:
    data.mkdir()
    image = data / "disk.img"
    image.write_bytes(os.urandom(size))
    print(f"First, all of it: {human.size(size)}.")
    first = send(data)
    with image.open("r+b") as file:
        file.seek(size // 2)
        file.write(os.urandom(4096))
    print("Then 4 KiB in its middle change.")
    second = send(data)
    if {first.state, second.state} != {State.DONE}:
        return 1
    sent, reused = second.bytes["sent"], second.bytes["reused"]
    print(f"Sent {human.size(sent)}, reused {human.size(reused)} of what was there: {100 * reused / size:.1f} % saved.")
    return 0


def send(data: Path) -> Summary:
    with sync_events(str(data), "s3://demo/data", delta_threshold=8 * MIB, part_size=5 * MIB) as job:
        for event in job:
            if isinstance(event, FileEvent) and event.outcome == "done":
                print(f"  {event.changes} {event.path}  ({event.how})")
    print(f"  {human.size(job.summary.bytes['sent'])} sent in {human.duration(job.summary.elapsed_seconds)}")
    return job.summary


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
