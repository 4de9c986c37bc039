"""Real-process chaos: random trees, random jobs, random kills, stops, flushes and cut connections, until the time is up.

    python tests/mayhem.py --seconds 1800 [--first SEED] [--log FILE]

Each round is one seed: it makes a tree, starts a job (embedded, or a fleet of two workers) between folders and a SeaweedFS
behind a slow proxy, and strikes it (``mayhem_strikes``). Whatever killed the job, the same command is run again, as a person
would, until it ends well. Then the round is judged: every summary obeyed the law, the destination is the source byte by byte, another
run moves nothing, and nothing of ours is left: no upload, intent, temporary or process. A line per round goes to FILE.
A seed decides everything but the instants at which things happen, so it does not replay exactly. Exit 1 where a round failed.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import tempfile
import time
import traceback
import uuid
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import servers
from compare import bucket as bucket_tree
from compare import differences, tree
from hugesync_tasks.register import HEARTBEAT_MS, TOKEN
from mayhem_strikes import Scene
from nasty import plant
from processes import Ended, Place, Running, pool_children, wait_until
from slowproxy import SlowProxy

PART = 5 << 20
OUTCOMES = ("done", "skipped", "failed", "pending")
WAYS = ("up", "down", "folder", "stores")
PATIENCE = 240.0  # seconds for one run; a stop past a lease and a takeover are in it
RUNS = 12  # of the same command, strikes included


@dataclass
class Round:
    """One seed's job and where it happens. ``changed``: the destination holds an older version, and ``--delete`` is given."""

    seed: int
    s3: servers.S3Server
    folder: Path
    told: list[str] = field(default_factory=list)
    runs: int = 0

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self.way = self.chance.choice(WAYS)
        self.fleet = self.chance.random() < 0.4
        self.changed = self.chance.random() < 0.5
        self.bucket = f"m-{uuid.uuid4().hex[:16]}"
        self.client = servers.s3_client(self.s3)
        self.client.create_bucket(Bucket=self.bucket)
        self.data = self.folder / "data"
        self.source, self.dest = self.data / "src", self.data / "dst"
        self.proxy = SlowProxy(self.s3.endpoint)
        self.broker = servers.start_valkey(self.folder / "b", "--appendonly", "yes") if self.fleet else None
        profile = self.folder / "aws"
        profile.write_text(
            f"[profile there]\nregion = {self.s3.region}\naws_access_key_id = {self.s3.access_key}\n"
            f"aws_secret_access_key = {self.s3.secret_key}\n"
        )
        env = {
            **self.s3.env, "AWS_ENDPOINT_URL_S3": self.proxy.endpoint, "AWS_CONFIG_FILE": str(profile),
            "HUGESYNC_PART_SIZE": str(PART), "HUGESYNC_WORKER_CONCURRENCY": "2", "HUGESYNC_WORKER_ROOTS": f"data={self.data}",
        }  # fmt: skip
        self.place = Place(self.folder / "p", env)
        self.workers: list[Running] = []

    # --- the job ---------------------------------------------------------------------------------------------------------
    @property
    def name(self) -> str:
        return f"{self.way} {'fleet' if self.fleet else 'embedded'}{' changed' if self.changed else ''}"

    def ends(self) -> tuple[str, str]:
        at, to = f"s3://{self.bucket}/from", f"s3://{self.bucket}/to"
        return {
            "up": (str(self.source), to), "down": (at, str(self.dest)), "folder": (str(self.source), str(self.dest)),
            "stores": (at, to),
        }[self.way]  # fmt: skip

    def options(self) -> list[str]:
        out = ["--delta-threshold", "5MiB"]
        out += ["--delete", "--max-delete", "100%"] if self.changed else []
        out += ["--dest-profile", "there"] if self.way == "stores" and self.seed % 2 else []
        out += ["--no-whole-file"] if self.way == "folder" and self.seed % 2 else []
        return [*out, *(["--broker", self.broker.url] if self.broker else [])]

    def submit(self) -> Running:
        self.runs += 1
        return self.place.submit(*self.options(), *self.ends())

    def prepare(self) -> None:
        self.source.mkdir(parents=True)
        if self.chance.random() < 0.3:
            plant(self.source, seed=self.seed)
        for n in range(self.chance.randrange(20, 400)):
            path = self.source / f"d{n % 7}" / f"f{n:04}"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(self.chance.randbytes(self.chance.choice([0, 1, 700, 20_000])))
        for n in range(self.chance.randrange(1, 4)):
            (self.source / f"large{n}").write_bytes(self.chance.randbytes(self.chance.randrange(9 << 20, 40 << 20)))
        if self.changed:
            self._calm(str(self.source), self.ends()[1])
            self._change()
        if self.way in ("down", "stores"):
            self._calm(str(self.source), self.ends()[0])
        if self.broker:
            self.workers = [self._worker() for _ in range(2)]

    def _worker(self) -> Running:
        assert self.broker is not None
        return self.place.worker(self.broker.url, "--root", f"data={self.data}", "--concurrency", 1)

    def _calm(self, source: str, dest: str) -> None:
        ended = self.place.submit(
            "--delta-threshold", "5MiB", source, dest, "--delete", "--max-delete", "100%"
        ).finish()
        assert ended.code == 0, ended.err

    def _change(self) -> None:
        files = sorted(p for p in self.source.glob("d*/f*"))
        for path in self.chance.sample(files, len(files) // 4):
            if self.chance.random() < 0.5:
                path.unlink()
            else:
                path.write_bytes(self.chance.randbytes(900))
        (self.source / "new").write_bytes(b"new")
        for path in self.source.glob("large*"):
            body = bytearray(path.read_bytes())
            at = self.chance.randrange(len(body) - 5000)
            body[at : at + self.chance.choice([0, 4096])] = self.chance.randbytes(self.chance.choice([100, 4096]))
            path.write_bytes(body)

    # --- what others do --------------------------------------------------------------------------------------------------
    def edit(self) -> str:
        """A source file becomes another one. At a store nobody writes but us: the tree there is the expected one."""
        if self.way in ("down", "stores"):
            return ""
        path = self.chance.choice(sorted(self.source.glob("[dl]*[0-9]/*")) or [self.source / "new"])
        path.write_bytes(self.chance.randbytes(self.chance.randrange(1000, 5000)))
        return path.name

    def overwrite(self) -> str:
        """A rival's bytes, of another size than ours, under the name of one of our files."""
        path = self.chance.choice(sorted(p for p in self.source.rglob("*[0-9]") if p.is_file() and not p.is_symlink()))
        key, body = path.relative_to(self.source).as_posix(), os.urandom(path.stat().st_size % 5000 + 5001)
        if self.way in ("up", "stores"):
            self.client.put_object(Bucket=self.bucket, Key=f"to/{key}", Body=body)
            return key
        at = self.dest / key
        with suppress(OSError):  # its folder is not there yet
            beside = at.with_name(f"rival-{uuid.uuid4().hex}")
            beside.write_bytes(body)
            beside.replace(at)
        return key

    # --- strikes and judgement -------------------------------------------------------------------------------------------
    def play(self) -> None:
        self.prepare()
        self.proxy.rate = self.chance.choice([4, 10, 25]) * 1e6
        left = self.chance.randrange(1, 9)
        scene = Scene(
            self.place, self.proxy, self.chance, self.submit(), self.broker, self.overwrite, self.edit, self.told
        )
        if self.chance.random() < 0.7:  # else the first strokes fall while the job starts
            self._at_work(scene.run)
        while True:
            pause = time.monotonic() + self.chance.expovariate(1 / 0.7)
            while left and scene.run.process.poll() is None and time.monotonic() < pause:
                time.sleep(0.01)
            if left and scene.run.process.poll() is None:
                left -= scene.strike()
                self._revive()
                continue
            if not left:
                scene.settle()
                self.proxy.rate = None
            if self._ended_well(scene.run):
                break
            assert self.runs < RUNS, f"not done after {self.runs} runs: {scene.run.said()[-1500:]}"
            scene.run = self.submit()
        scene.settle()
        self.proxy.mend()
        self._judge()

    def _at_work(self, run: Running) -> None:
        """Wait until there are processes that do the work: on a busy machine every stroke would fall before."""
        deadline = time.monotonic() + PATIENCE
        while run.process.poll() is None and not pool_children(self.place) and time.monotonic() < deadline:
            time.sleep(0.1)

    def _ended_well(self, run: Running) -> bool:
        """Whether the job is over and well. One that runs elsewhere is followed to its end."""
        deadline = time.monotonic() + PATIENCE
        while run.process.poll() is None and time.monotonic() < deadline:
            self._revive()
            time.sleep(0.2)
        ended = run.finish(1)
        said = ended.err.strip().splitlines()
        self.told.append(f"→{ended.code}" + (f" {said[-1]}" if ended.code and said else ""))
        self._lawful(ended)
        if ended.code == 4 and self.fleet:  # a stand-in has it
            job = [line.split()[0] for line in self._jobs() if "running" in line]
            if job:
                self.told.append("watch")
                watched = self.place.command("watch", "--broker", self.broker.url, job[0], "--json")  # type: ignore[union-attr]
                self._lawful(watched)
            return False
        return ended.code == 0

    def _jobs(self) -> list[str]:
        assert self.broker is not None
        return self.place.command("jobs", "--broker", self.broker.url).out.splitlines()[1:]

    def _lawful(self, ended: Ended) -> None:
        """A killed one says nothing; who speaks tells the truth."""
        assert "Traceback" not in ended.err, ended.err[-3000:]
        assert ended.code in (0, 1, 4, 5, 130, -2, -9, -15), (ended.code, ended.err[-2000:])
        if not ended.summary:  # SIGKILL; or a signal before there was anybody to handle it
            assert ended.code == -9 or (ended.code in (-2, -15) and not ended.err), (ended.code, ended.err[-2000:])
            return
        for what in ("files", "bytes"):
            counted = ended.summary[what]
            assert counted["found"] == sum(counted[n] for n in OUTCOMES), (what, counted)
        if ended.code == 0:
            assert ended.summary["files"]["pending"] == ended.summary["files"]["failed"] == 0, ended.summary

    def _revive(self) -> None:
        """A fleet's killed workers come back, as their supervisor would have it."""
        self.workers = [w if w.process.poll() is None else self._worker() for w in self.workers]

    def _judge(self) -> None:
        self._revive()
        calm = self.submit().finish(PATIENCE)  # a late edit, or a rival after our commit, is brought over now
        assert calm.code == 0, calm.err
        again = self.submit().finish(PATIENCE)
        assert again.code == 0, again.err
        assert (
            again.summary["files"]["done"] == again.summary["bytes"]["sent"] == again.summary["bytes"]["received"] == 0
        ), again.summary
        source = tree(self.source, folders="none")
        at_dest = (
            tree(self.dest, folders="none")
            if self.way in ("down", "folder")
            else bucket_tree(self.client, self.bucket, "to/")
        )
        found = differences(source, {k: v for k, v in at_dest.items() if v.kind != "folder"})
        assert not found, found
        if self.workers:  # one of them lives: it sweeps what the killed ones left, when their heartbeats have lapsed
            wait_until(
                lambda: not [*self.data.rglob(f"{TOKEN}*")], HEARTBEAT_MS / 1000 + 20, "no killed worker's token"
            )
        for worker in self.workers:
            worker.stop(60)
        left = self.place.left()
        assert not left, left
        ours = wait_until(lambda: [self._ours()], what="the listing")[0]
        assert not ours, ours

    def _ours(self) -> list[str]:
        uploads = self.client.list_multipart_uploads(Bucket=self.bucket).get("Uploads", [])
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket)
        keys = [o["Key"] for page in pages for o in page.get("Contents", []) if ".hugesync" in o["Key"]]
        files = [str(p) for p in self.data.rglob(".hugesync*")]
        return [*(f"upload {self._parts(u)}" for u in uploads), *keys, *files]

    def _parts(self, upload: dict[str, Any]) -> str:
        got = self.client.list_parts(Bucket=self.bucket, Key=upload["Key"], UploadId=upload["UploadId"])
        return f"{upload['Key']} with {len(got.get('Parts', []))} parts"

    def end(self) -> None:
        self.place.end()
        self.proxy.close()
        if self.broker:
            self.broker.stop()
        with suppress(Exception):
            self.client.delete_bucket(Bucket=self.bucket)
        self.client.close()


def play(seed: int, s3: servers.S3Server, keep: bool) -> dict[str, Any]:
    """One round's line: seed, kind, what was done, seconds, and why it failed ("" = it did not)."""
    folder, began = Path(tempfile.mkdtemp(prefix="hsm")), time.monotonic()
    it, why = Round(seed, s3, folder), ""
    try:
        it.play()
    except Exception as error:
        why = f"{type(error).__name__}: {error}\n{traceback.format_exc()[-1500:]}"
    finally:
        it.end()
    if not (why and keep):
        shutil.rmtree(folder, ignore_errors=True)
    line = {"seed": seed, "kind": it.name, "strikes": it.told, "runs": it.runs}
    return {
        **line,
        "seconds": round(time.monotonic() - began, 1),
        "failed": why,
        **({"kept": str(folder)} if why and keep else {}),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=10**9)
    parser.add_argument("--log", type=Path)
    parser.add_argument("--keep", action="store_true", help="keep the folders of failed rounds")
    given = parser.parse_args()
    ends, failed, seed = time.monotonic() + given.seconds, [], given.first
    with tempfile.TemporaryDirectory(prefix="hsw") as at:
        s3 = servers.start_seaweedfs(Path(at) / "weed")
        while time.monotonic() < ends and seed < given.first + given.rounds:
            line = play(seed, s3, given.keep)
            print(json.dumps(line), flush=True)
            if given.log:
                with given.log.open("a") as log:
                    print(json.dumps(line), file=log)
            failed += [seed] if line["failed"] else []
            seed += 1
        s3.stop()
    print(f"{seed - given.first} rounds from seed {given.first}, failed: {failed or 'none'}")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
