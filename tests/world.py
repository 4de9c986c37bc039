"""Both ends of a simulated job: what lies there at the start, and who else changes it meanwhile."""

from __future__ import annotations

import random
from dataclasses import replace

from hugesync_tasks.model import Meta
from hugesync_tasks.stores.memory import MemoryStore
from hugesync_tasks.stores.memory_bucket import MemoryBucket
from hugesync_tasks.stores.memory_objects import S3_LIKE
from hugesync_tasks.token import Token

PART = 1024
LIMITS = replace(S3_LIKE, min_part=256, max_part=PART, max_parts=100, max_copy=5 * PART)


class World:
    """Two stores, and a record of every version that ever was: ``versions`` at the source, ``rivals_bytes`` at the other."""

    rng: random.Random
    now: float

    def note(self, what: str) -> None:
        raise NotImplementedError

    def build(self, same_bucket: bool) -> None:
        self.rivals = self.edits = 0
        self.source_bucket = MemoryBucket(LIMITS, lambda: int(self.now * 1e9))
        self.dest_bucket = self.source_bucket if same_bucket else MemoryBucket(LIMITS, self.source_bucket._clock)
        self.source = MemoryStore(self.source_bucket, "src/", page_size=7)
        self.dest = MemoryStore(self.dest_bucket, "dst/", page_size=7)
        self.fill()

    def fill(self) -> None:
        token, rng = Token(), self.rng
        sizes = [0, 1, 100, PART // 2, PART, PART + 1, 2 * PART, 3 * PART + 17, 5 * PART + 1]
        for n in range(rng.randint(1, 40)):
            key = f"{rng.choice(['', 'a/', 'a/b/', 'z/'])}f{n:02}"
            self.source.put(key, self.bytes(rng.choice(sizes)), Meta(mtime_ns=10**18 + n), None, token)
        self.now += 100
        self.equal: set[str] = set()
        for key in self.keys(self.source_bucket, "src/"):
            found = self.source_bucket.get("src/" + key)
            if rng.random() < 0.2:
                self.dest.put(key, found.body, found.meta, None, token)
            elif rng.random() < 0.2:
                self.dest.put(key, self.bytes(rng.choice(sizes)), Meta(mtime_ns=5), None, token)
            else:
                continue
            if self.dest_bucket.get("dst/" + key).body == found.body:
                self.equal.add(key)
        self.keys_found = self.keys(self.source_bucket, "src/")
        self.found = len(self.keys_found)
        self.compared = set(self.keys(self.dest_bucket, "dst/")) - self.equal  # a HEAD decides, and sees what was done
        self.versions = {key: {self.source_bucket.get("src/" + key).body} for key in self.keys_found}
        self.rivals_bytes: dict[str, set[bytes]] = {key: set() for key in self.keys_found}
        self.now += 100

    def bytes(self, size: int) -> bytes:
        return self.rng.randbytes(size)

    def keys(self, bucket: MemoryBucket, prefix: str) -> list[str]:
        return [k.removeprefix(prefix) for k in sorted(bucket.dump()) if k.startswith(prefix)]

    def rival(self) -> None:
        self.rivals += 1
        key = self.rng.choice(self.keys(self.source_bucket, "src/"))
        self.note(f"a rival writes {key}")
        body = self.bytes(77)
        self.rivals_bytes[key].add(body)
        self.dest.put(key, body, Meta(mtime_ns=7), "*", Token())

    def edit(self) -> None:
        self.edits += 1
        key = self.rng.choice(self.keys(self.source_bucket, "src/"))
        self.note(f"the source {key} changes")
        self.now += 1
        # a HEAD of an object without a stored time shows the second it was written in, as S3 does
        body = self.bytes(self.rng.choice([5, PART, 4 * PART]))
        self.versions[key].add(body)
        self.source.put(key, body, Meta(mtime_ns=int(self.now * 1e9)), "*", Token())
