"""What the shared rate costs a small request while no store complains: with and without it, in turns, on the same servers.

    python benchmarks/shared_rate.py [ROUNDS]

Small puts (4 KiB, 16 threads, obstore) go to a SeaweedFS and a Valkey that are started for it; then the same calls go to a store
in memory, where nothing hides what the limiter itself takes. Each line is the median of the rounds.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import servers  # noqa: E402
from hugesync_tasks.model import Meta  # noqa: E402
from hugesync_tasks.spec import Location, Options  # noqa: E402
from hugesync_tasks.state.redis import RedisLedger  # noqa: E402
from hugesync_tasks.stores.base import ANY, Store  # noqa: E402
from hugesync_tasks.stores.limited import LimitedStore  # noqa: E402
from hugesync_tasks.stores.memory import MemoryStore  # noqa: E402
from hugesync_tasks.stores.opening import open_store  # noqa: E402
from hugesync_tasks.stores.shared_rate import SharedRates  # noqa: E402
from hugesync_tasks.stores.wrapper import Wrapper  # noqa: E402
from hugesync_tasks.token import Token  # noqa: E402

THREADS, PUTS, HEADS = 16, 1500, 200_000


def puts(store: Store) -> tuple[float, float]:
    """Puts per second, and microseconds of this process's CPU per put."""
    token, body = Token(), os.urandom(4096)
    began, used = time.perf_counter(), time.process_time()
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(lambda i: store.put(f"f{i}", body, Meta(), ANY, token), range(PUTS)))
    return PUTS / (time.perf_counter() - began), 1e6 * (time.process_time() - used) / PUTS


def heads(store: Store) -> float:
    """Nanoseconds of CPU per call of one thread."""
    token = Token()
    began = time.thread_time_ns()
    for _ in range(HEADS):
        store.head("f", token)
    return (time.thread_time_ns() - began) / HEADS


def main(rounds: int) -> None:
    with tempfile.TemporaryDirectory(prefix="hsb", dir="/dev/shm") as folder:
        s3, valkey = servers.start_seaweedfs(f"{folder}/weed"), servers.start_valkey(f"{folder}/valkey")
        os.environ.update(s3.env)
        servers.s3_client(s3).create_bucket(Bucket="bench")
        ledger = RedisLedger.from_url(valkey.url)
        location, limits = Location("s3", "bench", "p/", endpoint=s3.endpoint), {"name": "s3", "probed": True}
        ways = {
            "without": open_store(location, limits, Options(), role="destination"),
            "with": open_store(location, limits, Options(), role="destination", rates=SharedRates(ledger.share_rate)),
        }
        bare = MemoryStore()
        in_memory = {"without": Wrapper(bare), "with": LimitedStore(bare, SharedRates(ledger.share_rate), "b", "p/")}
        for store in ways.values():
            puts(store)
        found: dict[tuple[str, str], list[float]] = {}
        for _ in range(rounds):
            for way in ways:
                rate, cpu = puts(ways[way])
                found.setdefault(("puts/s", way), []).append(rate)
                found.setdefault(("CPU us/put", way), []).append(cpu)
                found.setdefault(("CPU ns/call in memory", way), []).append(heads(in_memory[way]))
        for (what, way), values in sorted(found.items()):
            print(f"{what:<22} {way:<8} {statistics.median(values):9.0f}   ({min(values):.0f} to {max(values):.0f})")
        ledger.close()
        s3.stop()
        valkey.stop()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 7)
