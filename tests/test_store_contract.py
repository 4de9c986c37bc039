"""The one conformance suite: what every adapter and every wrapper must do.

Each test is a plain function of a ``store`` with an empty root, so that whoever writes a store can run it over their
own: import the functions and provide a fixture ``store``. What a store cannot do is read from ``store.limits``.
"""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace

import pytest
from awscrt.checksums import crc64nvme

import servers
from conftest import GcsBucket, azure_environment, only_google_of
from hugesync_tasks.errors import (
    BadName,
    Cancelled,
    Corrupted,
    NoSuchUpload,
    NotFound,
    Permanent,
    SourceChanged,
    StoreError,
    Transient,
    VersionMismatch,
)
from hugesync_tasks.model import Commit, Entry, Kind, Meta, Part, Upload
from hugesync_tasks.stores.base import ABSENT, ANY, MIB, Limits, Store
from hugesync_tasks.stores.faults import FaultyStore
from hugesync_tasks.stores.limited import LimitedStore
from hugesync_tasks.stores.memory import MemoryStore
from hugesync_tasks.stores.named import NamedStore
from hugesync_tasks.stores.retry import RetryingStore
from hugesync_tasks.stores.shared_rate import SharedRates
from hugesync_tasks.stores.throttle import ThrottledStore
from hugesync_tasks.token import Token
from strict_azure import StrictAzure
from strict_gcs import StrictGcs

ORDER = ["a-b", "a.txt", "a/x", "a0", "b", "b!/q", "b/q", "\uff5e", "\U0001f600"]
GENERATION = "0123456789abcdef" * 2
RIVAL = "fedcba9876543210" * 2


@pytest.fixture(scope="module")
def one_bucket(seaweedfs: servers.S3Server) -> str:
    """For the whole suite, a prefix for each test: a bucket costs SeaweedFS seven volumes of the hundred it has."""
    servers.s3_client(seaweedfs).create_bucket(Bucket="contract")
    return "contract"


def s3_store(request: pytest.FixtureRequest) -> Store:
    from hugesync_tasks.stores.s3 import S3Store
    from hugesync_tasks.stores.s3_probe import probe

    server: servers.S3Server = request.getfixturevalue("seaweedfs")
    environment: pytest.MonkeyPatch = request.getfixturevalue("monkeypatch")
    for name in [n for n in os.environ if n.startswith("AWS_")]:
        environment.delenv(name)
    for name, value in {**server.env, "AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}.items():
        environment.setenv(name, value)
    prefix = f"{uuid.uuid4().hex}/root/"
    made = S3Store(request.getfixturevalue("one_bucket"), prefix, endpoint=server.endpoint, page_size=2)
    made.limits = probe(made, Token())
    return made


def gcs_store(request: pytest.FixtureRequest) -> Store:
    from hugesync_tasks.stores.gcs import GcsStore

    it: GcsBucket = request.getfixturevalue("gcs_bucket")
    made = GcsStore(it.bucket, f"{uuid.uuid4().hex}/root/", page_size=2)
    made.limits = made.probe(Token())
    return made


@pytest.fixture(scope="module")
def one_container(azurite: servers.AzureServer) -> str:
    servers.azure_container(azurite, "contract").close()
    return "contract"


_probed: dict[str, Limits] = {}  # once for the whole suite


def azure_store(request: pytest.FixtureRequest) -> Store:
    from hugesync_tasks.stores.azure import AzureStore

    server: servers.AzureServer = request.getfixturevalue("azurite")
    container: str = request.getfixturevalue("one_container")
    azure_environment(request.getfixturevalue("monkeypatch"), server.env)
    made = AzureStore(container, f"{uuid.uuid4().hex}/root/", page_size=4)
    made.limits = _probed.get("azurite") or made.probe(Token())
    _probed["azurite"] = made.limits
    return made


@pytest.fixture(scope="module")
def strict_gcs() -> Iterator[StrictGcs]:
    with StrictGcs(buckets=("contract",)) as it:
        yield it


def strict_gcs_store(request: pytest.FixtureRequest) -> Store:
    from hugesync_tasks.stores.gcs import GcsStore

    strict: StrictGcs = request.getfixturevalue("strict_gcs")
    only_google_of(strict.env, request.getfixturevalue("monkeypatch"))
    made = GcsStore("contract", f"{uuid.uuid4().hex}/root/", page_size=2)
    made.limits = replace(made.probe(Token()), name="gcs")
    return made


@pytest.fixture(scope="module")
def strict_azure() -> Iterator[StrictAzure]:
    with StrictAzure() as it:
        it.create_container("contract")
        yield it


def strict_azure_store(request: pytest.FixtureRequest) -> Store:
    from hugesync_tasks.stores.azure import AzureStore

    strict: StrictAzure = request.getfixturevalue("strict_azure")
    azure_environment(request.getfixturevalue("monkeypatch"), strict.env)
    made = AzureStore("contract", f"{uuid.uuid4().hex}/root/", page_size=2)
    made.limits = _probed.get("strict azure") or made.probe(Token())
    _probed["strict azure"] = made.limits
    return made


def local_store(request: pytest.FixtureRequest) -> Store:
    from hugesync_tasks.stores.local import LocalStore

    store: Store = LocalStore(str(request.getfixturevalue("tmp_path")))
    return store


def memory_store(request: pytest.FixtureRequest, order: str = "utf8") -> Store:
    from hugesync_tasks.stores.memory_bucket import S3_LIKE

    return MemoryStore(prefix="some/root/", limits=replace(S3_LIKE, list_order=order), page_size=2, run_size=3)


STORES: dict[str, Callable[[pytest.FixtureRequest], Store]] = {
    "memory": memory_store,
    "memory listing by segments": lambda r: memory_store(r, "segments"),
    "memory listing in utf16": lambda r: memory_store(r, "utf16"),
    "memory listing in no order": lambda r: memory_store(r, "none"),
    "local": local_store,
    "s3": s3_store,
    "gcs on fake-gcs-server": gcs_store,
    "gcs on the strict fake": strict_gcs_store,
    "azure on azurite": azure_store,
    "azure on the strict fake": strict_azure_store,
    "retrying": lambda r: RetryingStore(memory_store(r), base=0.001),
    "throttled": lambda r: ThrottledStore(memory_store(r), 1e12, 1e9),
    "limited": lambda r: LimitedStore(memory_store(r), SharedRates(), "bucket", "p/"),
    "faulty, unarmed": lambda r: FaultyStore(memory_store(r)),
    "all wrappers over local": lambda r: NamedStore(
        RetryingStore(ThrottledStore(FaultyStore(local_store(r)), 1e12, 1e9)), "source", "/here"
    ),
}


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    made = STORES[request.param](request)
    yield made
    made.close()


# flaws of servers, by the name their limits bear: there the strict fake alone carries the case
RACING_COMPLETES = "of two Completes at the same moment both may succeed"  # 22 of 30 races
FORGETS_FOLDERS = "the metadata of a folder's object are dropped"
FLAWS = {
    "s3 (SeaweedFS)": (RACING_COMPLETES, FORGETS_FOLDERS),
    "gcs (emulator)": (RACING_COMPLETES,),  # fake-gcs-server knows no condition of a compose
}


RIVALS_TAKE_BLOCKS = "whoever writes an object takes away the parts of every open upload to it"
FLAWS |= {"azure": (RIVALS_TAKE_BLOCKS,), "azure (emulator)": (RIVALS_TAKE_BLOCKS,)}


def has_flaw(store: Store, flaw: str) -> bool:
    return flaw in FLAWS.get(store.limits.name, ())


def opens_nothing(store: Store) -> bool:
    """An upload is nothing but its parts: before the first, and after an abort, there is none to know or to refuse."""
    return store.limits.name.startswith(("gcs", "azure"))


# what the tests are written with


def put(store: Store, key: str, body: bytes = b"x", **meta: object) -> Commit:
    if store.limits.folders:
        make_folders(store, key)
    return store.put(key, body, Meta(generation=GENERATION, **meta), ABSENT, Token())  # type: ignore[arg-type]


def make_folders(store: Store, key: str) -> None:
    for i, letter in enumerate(key):
        if letter == "/" and store.head(key[: i + 1], Token()) is None:
            store.put(key[: i + 1], b"", Meta(), ABSENT, Token())


def read(store: Store, key: str, version: str = "", start: int = 0, length: int | None = None) -> bytes:
    with store.open(key, version, Token(), start, length) as reader:
        return b"".join(reader)


def objects(store: Store, start_after: str = "") -> list[str]:
    """The keys of files and links: folders are implicit on some stores."""
    return [e.key for e in store.list(Token(), start_after) if e.kind is not Kind.DIR]


def part_size(store: Store) -> int:
    return max(store.limits.min_part, MIB)


def bytes_like(n: int, seed: int = 0) -> bytes:
    return bytes((i * 7 + seed) % 251 for i in range(997)) * (n // 997 + 1)


def body_of(store: Store, parts: int, tail: int = 1000, seed: int = 0) -> bytes:
    """Enough for ``parts`` whole parts and a short one; every part differs."""
    size = part_size(store)
    return b"".join(bytes_like(size, seed + i)[:size] for i in range(parts)) + bytes_like(tail, seed + parts)[:tail]


def begin(store: Store, key: str, size: int, generation: str = GENERATION) -> tuple[Upload, Meta]:
    if store.limits.folders:
        make_folders(store, key)
    meta = Meta(mtime_ns=1_600_000_000_123_456_789, generation=generation)
    return store.create_upload(key, size, part_size(store), meta, Token()), meta


def send(store: Store, upload: Upload, body: bytes) -> list[Part]:
    step = upload.part_size
    count = max(1, -(-len(body) // step))
    return [store.put_part(upload, n + 1, body[n * step : (n + 1) * step], Token()) for n in range(count)]


def unused_version(store: Store) -> str:
    """A version that was real once and is not any more."""
    version = put(store, "scratch", b"what was here once").version
    store.put("scratch", b"something newer", Meta(), version, Token())
    return version


class Cancelling(Token):
    """Cancels itself after so many looks at it."""

    def __init__(self, checks: int) -> None:
        super().__init__()
        self._left = checks

    def check(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise Cancelled("the job was cancelled")


# listing


def test_a_listing_is_in_byte_order_whatever_the_servers_order(store: Store) -> None:
    keys = [k for k in ORDER if store.limits.file_and_folder or k != "b"]
    for key in reversed(keys):
        put(store, key, key.encode())
    assert objects(store) == keys
    every = [e.key for e in store.list(Token())]
    assert every == sorted(every)
    assert len(set(every)) == len(every)


def test_a_listing_goes_on_after_any_key(store: Store) -> None:
    keys = [k for k in ORDER if store.limits.file_and_folder or k != "b"]
    for key in keys:
        put(store, key)
    for start in [*keys, "a", "a/", "a/w", "b", "b!/", "b/", "\U0001f601"]:
        assert objects(store, start) == [k for k in keys if k > start], start
        assert all(e.key > start for e in store.list(Token(), start)), start


def test_an_empty_store_lists_nothing(store: Store) -> None:
    assert list(store.list(Token())) == []
    assert list(store.list(Token(), "a")) == []


def test_a_listing_tells_size_kind_and_the_version_that_head_tells(store: Store) -> None:
    commit = put(store, "d/file", b"12345", mtime_ns=1_500_000_000_000_000_001)
    entry = next(e for e in store.list(Token()) if e.key == "d/file")
    head = store.head("d/file", Token())
    assert head is not None
    assert (entry.kind, entry.size) == (Kind.FILE, 5)
    assert entry.version == head.entry.version == commit.version != ""
    assert (entry.mtime_ns == 1_500_000_000_000_000_001) is store.limits.listing_has_mtime


def test_a_folder_that_is_not_entered_is_not_listed(store: Store) -> None:
    for key in ("a/in/x", "a/out/deep/x", "a/out/y", "a/outer", "b/out/x", "out/x"):
        put(store, key)
    asked: list[str] = []

    def enter(folder: str) -> bool:
        asked.append(folder)
        return not folder.endswith("out/")

    found = [e.key for e in store.list(Token(), "", enter)]
    assert [k for k in found if not k.endswith("/")] == ["a/in/x", "a/outer"]
    assert not any("out/" in k for k in found)
    assert not any(f.startswith("a/out/deep") for f in asked)


def test_a_store_lists_from_a_folder_below_its_root_and_still_answers_when_that_is_closed(store: Store) -> None:
    for key in ("a/x", "a/b/y", "a/b/.hugesync/mine", "a/b/z/w", "a/bc", "b"):
        put(store, key)
    below = store.within("a/b/")
    assert [e.key for e in below.list(Token()) if not e.key.endswith("/")] == ["y", "z/w"]
    assert [e.key for e in below.list(Token(), "y", lambda folder: folder != "z/")] == []
    below.close()
    assert store.head("a/x", Token()) is not None
    gone = store.within("none/")
    try:
        assert list(gone.list(Token())) == []
    except NotFound:
        assert store.limits.folders
    gone.close()


def test_what_is_ours_is_never_listed(store: Store) -> None:
    put(store, ".hugesync/intent")
    put(store, "a/.hugesync/NAME.upload")
    put(store, ".hugesync-0123456789abcdef.part")
    put(store, "a/file.hugesync")
    put(store, "z")
    assert objects(store) == ["a/file.hugesync", "z"]
    assert not any(".hugesync/" in e.key for e in store.list(Token()))


def test_an_empty_folder_is_listed_and_removed(store: Store) -> None:
    put(store, "empty/", b"")
    put(store, "z")
    entry = next(iter(store.list(Token())))
    assert (entry.key, entry.kind, entry.size) == ("empty/", Kind.DIR, 0)
    store.delete("empty/", ANY, Token())
    assert [e.key for e in store.list(Token())] == ["z"]


def test_a_cancel_ends_a_listing_half_way(store: Store) -> None:
    for i in range(20):
        put(store, f"k{i:02}")
    seen: list[Entry] = []
    with pytest.raises(Cancelled):
        seen.extend(_appending(store.list(Cancelling(6)), seen))
    assert len(seen) < 20


def _appending(entries: Iterator[Entry], seen: list[Entry]) -> Iterator[Entry]:
    for entry in entries:
        seen.append(entry)
    yield from ()


# reading


def test_the_head_of_nothing_is_none(store: Store) -> None:
    assert store.head("nothing", Token()) is None
    assert store.head("no/such/folder/file", Token()) is None
    assert store.head("no/folder/", Token()) is None


def test_a_missing_object_is_the_same_error_everywhere(store: Store) -> None:
    with pytest.raises(NotFound):
        read(store, "nothing")
    with pytest.raises(NotFound):
        read(store, "no/such/folder/file")
    with pytest.raises(NotFound):
        read(store, "nothing", unused_version(store))


def test_ranges_are_exactly_what_was_asked_for(store: Store) -> None:
    body = body_of(store, 0, tail=3 * MIB + 17)
    version = put(store, "f", body).version
    assert read(store, "f") == body
    assert read(store, "f", version, 5) == body[5:]
    assert read(store, "f", version, 0, 1) == body[:1]
    assert read(store, "f", version, MIB - 1, MIB + 2) == body[MIB - 1 : 2 * MIB + 1]
    assert read(store, "f", version, len(body) - 1, 1) == body[-1:]
    with store.open("f", version, Token()) as reader:
        assert reader.head.entry.size == len(body)
        assert all(0 < len(chunk) <= MIB for chunk in reader)


@pytest.mark.parametrize(("start", "length"), [(11, None), (11, 1), (9, 2), (0, 11), (100, 5)])
def test_a_range_past_the_end_is_a_permanent_error(store: Store, start: int, length: int | None) -> None:
    put(store, "f", b"0123456789")
    with pytest.raises(Permanent) as caught:
        read(store, "f", "", start, length)
    assert not isinstance(caught.value, (NotFound, VersionMismatch, SourceChanged))


def test_an_empty_object_is_written_listed_and_read(store: Store) -> None:
    commit = put(store, "empty", b"")
    assert commit.size == 0
    assert read(store, "empty") == b""
    assert read(store, "empty", commit.version) == b""
    head = store.head("empty", Token())
    assert head is not None
    assert (head.entry.size, head.entry.kind) == (0, Kind.FILE)
    assert [(e.key, e.size) for e in store.list(Token())] == [("empty", 0)]


def test_a_reader_pinned_to_an_old_version_is_refused(store: Store) -> None:
    old = put(store, "f", b"old bytes").version
    new = store.put("f", b"new bytes!", Meta(), old, Token()).version
    assert new != old
    with pytest.raises(VersionMismatch):
        read(store, "f", old)
    assert read(store, "f", new) == b"new bytes!"


def test_a_cancel_ends_a_stream_half_way(store: Store) -> None:
    body = bytes(8 * MIB)
    put(store, "f", body)
    seen = 0
    token = Token()
    with pytest.raises(Cancelled), store.open("f", "", token) as reader:
        for chunk in reader:
            seen += len(chunk)
            token.cancel(Cancelled("the job was cancelled"))
    assert 0 < seen < len(body)


# writing


def test_a_put_is_what_is_read_back(store: Store) -> None:
    commit = put(store, "d/f", b"bytes")
    assert (commit.key, commit.size) == ("d/f", 5)
    assert read(store, "d/f", commit.version) == b"bytes"


def test_absent_refuses_what_exists_and_leaves_it_untouched(store: Store) -> None:
    version = put(store, "f", b"old").version
    with pytest.raises(VersionMismatch):
        store.put("f", b"new", Meta(), ABSENT, Token())
    assert read(store, "f", version) == b"old"


def test_a_put_against_the_wrong_version_is_refused_and_leaves_the_rival_untouched(store: Store) -> None:
    stale = unused_version(store)
    version = put(store, "f", b"old").version
    with pytest.raises(VersionMismatch):
        store.put("f", b"new", Meta(), stale, Token())
    assert read(store, "f", version) == b"old"


def test_a_put_against_the_right_version_replaces(store: Store) -> None:
    version = put(store, "f", b"old").version
    commit = store.put("f", b"newer", Meta(), version, Token())
    assert commit.version != version
    assert read(store, "f", commit.version) == b"newer"


def test_a_put_against_a_version_of_what_is_gone_is_refused(store: Store) -> None:
    version = put(store, "f", b"old").version
    store.delete("f", version, Token())
    with pytest.raises(VersionMismatch):
        store.put("f", b"new", Meta(), version, Token())
    assert store.head("f", Token()) is None


def test_any_overwrites_whatever_is_there(store: Store) -> None:
    store.put("f", b"one", Meta(), ANY, Token())
    store.put("f", b"three", Meta(), ANY, Token())
    assert read(store, "f") == b"three"


def test_of_many_racing_puts_exactly_one_wins(store: Store) -> None:
    outcomes: list[object] = []
    gate = threading.Barrier(4)

    def race(body: bytes) -> None:
        gate.wait()
        try:
            store.put("f", body, Meta(), ABSENT, Token())
            outcomes.append(body)
        except StoreError as error:
            outcomes.append(error)

    threads = [threading.Thread(target=race, args=(bytes([65 + i]) * 9,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    won = [o for o in outcomes if isinstance(o, bytes)]
    assert len(won) == 1, outcomes
    # S3 may answer a rival that raced with 409, which is transient: it would lose when repeated
    assert all(isinstance(o, (VersionMismatch, Transient)) for o in outcomes if not isinstance(o, bytes)), outcomes
    assert read(store, "f") == won[0]


def test_metadata_come_back_as_they_were_written(store: Store) -> None:
    mtime = 1_234_567_890_123_456_789
    put(store, "f.bin", b"x", mtime_ns=mtime, mode=0o640, content_type="text/x-odd")
    head = store.head("f.bin", Token())
    assert head is not None
    told = head.entry.mtime_ns if store.limits.listing_has_mtime else head.meta.mtime_ns
    assert told == mtime
    assert (head.entry.mode if store.limits.posix_metadata else head.meta.mode) == 0o640
    if not store.limits.posix_metadata:
        assert head.meta.content_type == "text/x-odd"
        assert head.meta.generation == GENERATION
        assert head.entry.modified_ns is not None


@pytest.mark.parametrize("mtime", [0, 1, -1, -1_500_000_000, 999_999_999, 4_102_444_800_000_000_001])
def test_times_before_and_after_any_epoch_survive(store: Store, mtime: int) -> None:
    put(store, "f", b"x", mtime_ns=mtime)
    head = store.head("f", Token())
    assert head is not None
    assert (head.entry.mtime_ns if store.limits.listing_has_mtime else head.meta.mtime_ns) == mtime


def test_a_link_is_its_target_and_a_link_everywhere(store: Store) -> None:
    target = "../näher/ziel nicht da".encode()
    put(store, "l.rclonelink", target, link=True, mtime_ns=1_500_000_000_000_000_001)
    entry = next(iter(store.list(Token())))
    assert (entry.key, entry.kind, entry.size) == ("l.rclonelink", Kind.LINK, len(target))
    head = store.head("l.rclonelink", Token())
    assert head is not None
    assert head.meta.link
    assert head.entry.version == entry.version
    assert read(store, "l.rclonelink", entry.version) == target


def test_a_batch_answers_for_every_key_and_one_failure_fails_one_key(store: Store) -> None:
    old = put(store, "there", b"old").version
    batch = store.batch()
    for i in range(5):
        batch.put(f"n{i}", b"%d" % i, Meta(generation=GENERATION), ABSENT, Token())
    with suppress(VersionMismatch):  # at once, or in the answer
        batch.put("there", b"new", Meta(), ABSENT, Token())
    answers = batch.finish(Token())
    assert {k for k, a in answers.items() if isinstance(a, Commit)} == {f"n{i}" for i in range(5)}
    assert isinstance(answers.get("there", VersionMismatch("raised at once")), VersionMismatch)
    assert read(store, "there", old) == b"old"
    for i in range(5):
        answer = answers[f"n{i}"]
        assert isinstance(answer, Commit)
        assert read(store, f"n{i}", answer.version) == b"%d" % i


def test_a_batch_may_be_filled_by_several_threads(store: Store) -> None:
    batch = store.batch()

    def fill(n: int) -> None:
        for i in range(5):
            batch.put(f"t{n}-{i}", b"%d" % i, Meta(), ABSENT, Token())

    threads = [threading.Thread(target=fill, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    answers = batch.finish(Token())
    assert sorted(answers) == objects(store) == sorted(f"t{n}-{i}" for n in range(4) for i in range(5))
    assert all(isinstance(a, Commit) for a in answers.values())


def test_a_discarded_batch_leaves_nothing_half_done(store: Store) -> None:
    batch = store.batch()
    batch.put("f", b"whole", Meta(), ABSENT, Token())
    batch.discard()
    visible = [e.key for e in store.list(Token())]
    assert visible in ([], ["f"])  # durable at once, or not visible before finish
    if visible:
        assert read(store, "f") == b"whole"


# deleting


def test_a_delete_takes_only_the_version_it_was_given(store: Store) -> None:
    stale = unused_version(store)
    version = put(store, "f", b"mine").version
    with pytest.raises(VersionMismatch):
        store.delete("f", stale, Token())
    assert read(store, "f") == b"mine"
    store.delete("f", version, Token())
    assert store.head("f", Token()) is None


def test_deleting_what_is_gone_is_success(store: Store) -> None:
    version = put(store, "f", b"mine").version
    store.delete("f", ANY, Token())
    store.delete("f", version, Token())
    store.delete("f", ANY, Token())
    store.delete("never/was", ANY, Token())
    store.delete("never/folder/", ANY, Token())


# keeping a version


def test_a_kept_version_is_there_twice_and_the_answer_is_the_condition_of_what_follows(store: Store) -> None:
    version = put(store, "d/f", b"old", mtime_ns=10**18 + 7).version
    condition = store.keep("d/f", version, "old/d/f", Token())
    assert read(store, "old/d/f") == read(store, "d/f") == b"old"
    kept = store.head("old/d/f", Token())
    assert kept is not None
    assert 10**18 + 7 in (kept.meta.mtime_ns, kept.entry.mtime_ns)
    assert store.keep("d/f", version, "old/d/f", Token()) is not None  # as after a lost reply, or a kill
    condition = store.keep("d/f", version, "old/d/f", Token())
    store.put("d/f", b"new", Meta(generation=GENERATION), condition, Token())
    assert (read(store, "d/f"), read(store, "old/d/f")) == (b"new", b"old")
    assert [k for k in objects(store) if k.startswith("old/")] == ["old/d/f"]


def test_another_version_than_the_one_named_is_not_kept(store: Store) -> None:
    stale = unused_version(store)
    put(store, "f", b"mine")
    with pytest.raises(VersionMismatch):
        store.keep("f", stale, "old/f", Token())
    with pytest.raises(NotFound):
        store.keep("none", stale, "old/none", Token())
    assert not [k for k in objects(store) if k.startswith("old/")]


def test_what_was_kept_before_is_never_written_over(store: Store) -> None:
    put(store, "old/f", b"of last week")
    condition = store.keep("f", put(store, "f", b"of today").version, "old/f", Token())
    store.delete("f", condition, Token())
    assert store.head("f", Token()) is None
    kept = [k for k in objects(store) if k.startswith("old/")]
    assert sorted(read(store, k) for k in kept) == [b"of last week", b"of today"]
    assert kept[0] == "old/f"


def test_links_are_kept_as_links_and_folders_not_at_all(store: Store) -> None:
    link = put(store, "l.rclonelink", b"../over/there", link=True).version
    store.delete("l.rclonelink", store.keep("l.rclonelink", link, "old/l.rclonelink", Token()), Token())
    assert read(store, "old/l.rclonelink") == b"../over/there"
    folder = put(store, "e/", b"").version
    assert store.keep("e/", folder, "old/e", Token()) == folder
    assert store.head("old/e", Token()) is None


def test_a_kept_object_may_be_larger_than_one_copy(store: Store) -> None:
    if not store.limits.remote:
        pytest.skip("a link has no size")
    body = body_of(store, 2)
    version = put(store, "big", body).version
    store.limits = replace(store.limits, max_copy=len(body) - 1)
    store.keep("big", version, "old/big", Token())
    assert read(store, "old/big") == body


# uploads in parts


def test_parts_may_arrive_out_of_order_and_nothing_is_visible_before_the_commit(store: Store) -> None:
    body = body_of(store, 2)
    upload, meta = begin(store, "d/big", len(body))
    step = upload.part_size
    parts = [
        store.put_part(upload, n, body[(n - 1) * step : n * step], Token())
        for n in (3, 1, 2)
    ]  # fmt: skip
    assert store.head("d/big", Token()) is None
    assert objects(store) == []
    assert [(p.number, p.size) for p in sorted(store.list_parts(upload, Token()), key=lambda p: p.number)] == [
        (1, step), (2, step), (3, len(body) - 2 * step)
    ]  # fmt: skip
    crc = crc64nvme(body)
    commit = store.complete(upload, sorted(parts, key=lambda p: p.number), meta, ABSENT, crc, Token())
    assert (commit.key, commit.size) == ("d/big", len(body))
    assert read(store, "d/big", commit.version) == body
    head = store.head("d/big", Token())
    assert head is not None
    assert head.entry.version == commit.version
    assert (head.entry.mtime_ns if store.limits.listing_has_mtime else head.meta.mtime_ns) == meta.mtime_ns
    if store.limits.full_crc64:
        assert head.crc64 in (None, crc)  # asking for it may cost more than the caller wanted
        assert commit.proven == "crc64nvme"
    assert list(store.list_uploads(Token())) == []
    assert objects(store) == ["d/big"]


def test_a_part_may_be_a_view_of_memory_that_holds_something_else_after_the_call(store: Store) -> None:
    body = body_of(store, 1)
    upload, meta = begin(store, "f", len(body))
    memory, parts = bytearray(upload.part_size), []
    for number, chunk in enumerate((body[: upload.part_size], body[upload.part_size :]), 1):
        memory[: len(chunk)] = chunk
        with memoryview(memory)[: len(chunk)] as view:
            parts.append(store.put_part(upload, number, view, Token()))
        memory[:] = bytes(len(memory))
    memory.append(0)  # a view that somebody kept would refuse this
    store.complete(upload, parts, meta, ABSENT, crc64nvme(body), Token())
    assert read(store, "f") == body


def test_an_upload_of_one_part_is_an_object(store: Store) -> None:
    upload, meta = begin(store, "f", 10)
    commit = store.complete(upload, send(store, upload, b"0123456789"), meta, ABSENT, None, Token())
    assert read(store, "f", commit.version) == b"0123456789"


def test_a_part_may_be_sent_again(store: Store) -> None:
    body = body_of(store, 1)
    upload, meta = begin(store, "f", len(body))
    send(store, upload, body)
    parts = send(store, upload, body)
    store.complete(upload, parts, meta, ABSENT, crc64nvme(body), Token())
    assert read(store, "f") == body


def test_receipts_name_the_parts_and_their_bytes(store: Store) -> None:
    body = body_of(store, 1)
    upload, _ = begin(store, "f", len(body))
    parts = send(store, upload, body)
    listed = {p.number: p for p in store.list_parts(upload, Token())}
    for part, chunk in zip(parts, (body[: upload.part_size], body[upload.part_size :]), strict=True):
        assert part.size == listed[part.number].size == len(chunk)
        assert part.etag == listed[part.number].etag
        assert part.crc64 in (None, crc64nvme(chunk))
        assert listed[part.number].crc64 in (None, crc64nvme(chunk))
    assert Part.unwire(parts[0].wire()) == parts[0]
    store.abort(upload, Token())


def test_what_is_ours_is_listed_apart_from_everything_else(store: Store) -> None:
    for key in ("f", "a/f", *((".hugesync/x", "a/.hugesync/y", "a/.hugesync/z") if store.limits.intents else ())):
        put(store, key, b"x")
    assert [e.key for e in store.list(Token()) if e.kind is Kind.FILE] == ["a/f", "f"]
    ours = [".hugesync/x", "a/.hugesync/y", "a/.hugesync/z"] if store.limits.intents else []
    assert sorted(e.key for e in store.list_ours(Token())) == ours
    below = {e.key: (e.size, bool(e.version)) for e in store.list_ours(Token(), "a/.hugesync/")}
    assert below == dict.fromkeys(ours[1:], (1, True))
    assert store.hazards(Token()) == ()
    assert store.domain


def test_an_open_upload_is_found_and_aborting_twice_is_success(store: Store) -> None:
    hidden = not store.limits.abort_frees  # uploads to an object that is there are not listed, and only time ends them
    version = "" if hidden else put(store, "f", b"old").version
    upload, _ = begin(store, "f", 10)
    send(store, upload, b"0123456789")
    found = [(key, upload_id) for key, upload_id, _ in store.list_uploads(Token())]
    assert found == [("f", upload.id)]
    held = store.held(Upload("f", upload.id, "", 0, 0), Token())
    assert held == 10 if store.limits.remote else held and held >= 10
    store.abort(upload, Token())
    store.abort(upload, Token())
    if hidden:
        assert store.head("f", Token()) is None
        assert store.held(upload, Token()) == 10
        return
    with pytest.raises(NoSuchUpload):
        store.held(upload, Token())
    assert list(store.list_uploads(Token())) == []
    assert read(store, "f", version) == b"old"
    if opens_nothing(store):
        assert store.list_parts(upload, Token()) == []
        return
    with pytest.raises(NoSuchUpload):
        store.list_parts(upload, Token())
    with pytest.raises(NoSuchUpload):
        store.put_part(upload, 1, b"0123456789", Token())


def test_completing_an_aborted_upload_is_refused(store: Store) -> None:
    if not store.limits.abort_frees:
        pytest.skip("only time ends an upload here")
    upload, meta = begin(store, "f", 10)
    parts = send(store, upload, b"0123456789")
    store.abort(upload, Token())
    with pytest.raises(NoSuchUpload):
        store.complete(upload, parts, meta, ABSENT, None, Token())
    assert store.head("f", Token()) is None


def test_a_second_complete_never_makes_another_object(store: Store) -> None:
    body = body_of(store, 1)
    upload, meta = begin(store, "f", len(body))
    parts = send(store, upload, body)
    commit = store.complete(upload, parts, meta, ABSENT, crc64nvme(body), Token())
    try:
        again = store.complete(upload, parts, meta, ABSENT, crc64nvme(body), Token())
        assert again.version == commit.version  # some servers remember; then it must be the same
    except (NoSuchUpload, VersionMismatch):
        pass
    assert read(store, "f", commit.version) == body


def test_complete_refuses_a_rival_and_the_upload_stays(store: Store) -> None:
    upload, meta = begin(store, "f", 10)
    parts = send(store, upload, b"0123456789")
    rival = put(store, "f", b"rival").version
    for expected in (ABSENT, unused_version(store)):
        with pytest.raises(VersionMismatch):
            store.complete(upload, parts, meta, expected, None, Token())
        assert read(store, "f", rival) == b"rival"
    if has_flaw(store, RIVALS_TAKE_BLOCKS):
        assert store.list_parts(upload, Token()) == []
        parts = send(store, upload, b"0123456789")
    assert [p.number for p in store.list_parts(upload, Token())] == [1]
    commit = store.complete(upload, parts, meta, rival, None, Token())
    assert read(store, "f", commit.version) == b"0123456789"


def two_uploads(store: Store) -> list[tuple[Upload, list[Part], Meta, bytes]]:
    bodies = {GENERATION: body_of(store, 1, seed=1), RIVAL: body_of(store, 1, seed=2)}
    ready = []
    for generation, body in bodies.items():
        upload, meta = begin(store, "f", len(body), generation)
        ready.append((upload, send(store, upload, body), meta, body))
    assert ready[0][0].id != ready[1][0].id
    return ready


def test_of_two_uploads_to_one_key_only_the_first_commits(store: Store) -> None:
    (late, late_parts, late_meta, late_body), (upload, parts, meta, body) = two_uploads(store)
    store.complete(upload, parts, meta, ABSENT, crc64nvme(body), Token())
    with pytest.raises(VersionMismatch):
        store.complete(late, late_parts, late_meta, ABSENT, crc64nvme(late_body), Token())
    store.abort(late, Token())
    assert read(store, "f") == body
    assert list(store.list_uploads(Token())) == []


def test_of_two_commits_at_the_same_moment_exactly_one_wins(store: Store) -> None:
    if has_flaw(store, RACING_COMPLETES):
        pytest.skip(f"{store.limits.name}: {RACING_COMPLETES}")
    ready = two_uploads(store)
    outcomes: list[object] = []
    gate = threading.Barrier(2)

    def race(upload: Upload, parts: list[Part], meta: Meta, body: bytes) -> None:
        gate.wait()
        try:
            store.complete(upload, parts, meta, ABSENT, crc64nvme(body), Token())
            outcomes.append(body)
        except StoreError as error:
            outcomes.append(error)
            store.abort(upload, Token())

    threads = [threading.Thread(target=race, args=r) for r in ready]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    won = [o for o in outcomes if isinstance(o, bytes)]
    assert len(won) == 1, outcomes
    assert read(store, "f") == won[0]
    assert list(store.list_uploads(Token())) == []


def test_a_wrong_checksum_of_the_whole_is_refused_and_nothing_becomes_visible(store: Store) -> None:
    body = body_of(store, 1)
    upload, meta = begin(store, "f", len(body))
    parts = send(store, upload, body)
    if not store.limits.full_crc64:
        store.abort(upload, Token())
        pytest.skip("this store proves no checksum of the whole")
    with pytest.raises(Corrupted):
        store.complete(upload, parts, meta, ABSENT, crc64nvme(body) ^ 1, Token())
    assert store.head("f", Token()) is None
    assert objects(store) == []


def test_parts_that_do_not_cover_the_object_are_refused(store: Store) -> None:
    body = body_of(store, 2)
    upload, meta = begin(store, "f", len(body))
    parts = send(store, upload, body)
    with pytest.raises(StoreError):
        store.complete(upload, parts[:2], meta, ABSENT, None, Token())
    assert store.head("f", Token()) is None


def test_a_receipt_of_other_bytes_is_refused(store: Store) -> None:
    body = body_of(store, 1)
    upload, meta = begin(store, "f", len(body))
    parts = send(store, upload, body)
    forged = replace(parts[0], etag="0" * 32, crc64=None if parts[0].crc64 is None else parts[0].crc64 ^ 1)
    with pytest.raises(StoreError):
        store.complete(upload, [forged, *parts[1:]], meta, ABSENT, None, Token())
    assert store.head("f", Token()) is None


def test_a_part_below_the_stores_minimum_is_refused_at_the_commit(store: Store) -> None:
    if store.limits.min_part < 2:
        pytest.skip("this store has no smallest part")
    meta = Meta(generation=GENERATION)
    upload = store.create_upload("f", 15, 10, meta, Token())
    parts = [store.put_part(upload, 1, b"0123456789", Token()), store.put_part(upload, 2, b"01234", Token())]
    with pytest.raises(Permanent):
        store.complete(upload, parts, meta, ABSENT, None, Token())
    assert store.head("f", Token()) is None


# copies within the service


def test_a_copy_is_the_same_bytes_and_none_of_them_pass_through_us(store: Store) -> None:
    version = put(store, "from", b"bytes to copy").version
    assert store.can_copy_from(store)
    token = Token()
    meta = Meta(mtime_ns=1_500_000_000_000_000_001, generation=RIVAL)
    commit = store.copy(store, "to", "from", version, meta, ABSENT, token)
    moved = token.meter.take()
    assert (commit.key, commit.size) == ("to", 13)
    assert read(store, "to", commit.version) == b"bytes to copy"
    assert moved.get("bytes.sent", 0) == moved.get("bytes.received", 0) == 0
    if store.limits.remote:
        assert moved["bytes.copied_server_side"] == 13
    head = store.head("to", Token())
    assert head is not None
    assert (head.entry.mtime_ns if store.limits.listing_has_mtime else head.meta.mtime_ns) == meta.mtime_ns
    if not store.limits.posix_metadata:
        assert head.meta.generation == RIVAL


def test_a_copy_is_pinned_to_its_source_and_conditional_on_its_destination(store: Store) -> None:
    stale = unused_version(store)
    version = put(store, "from", b"bytes").version
    there = put(store, "to", b"rival").version
    with pytest.raises(VersionMismatch):
        store.copy(store, "to", "from", version, Meta(), ABSENT, Token())
    if store.limits.part_conditional:
        with pytest.raises(VersionMismatch):
            store.copy(store, "to", "from", stale, Meta(), there, Token())
    assert read(store, "to", there) == b"rival"
    with pytest.raises(NotFound):
        store.copy(store, "other", "nothing", version, Meta(), ABSENT, Token())
    store.copy(store, "to", "from", version, Meta(), there, Token())
    assert read(store, "to") == b"bytes"


def test_an_object_is_stitched_from_copied_ranges_and_sent_parts(store: Store) -> None:
    if copies_whole_objects_alone(store):
        pytest.skip("this store copies no ranges")
    size = part_size(store)
    old = body_of(store, 2)
    version = put(store, "old", old).version
    fresh = bytes_like(size, 77)[:size]
    wanted = old[:size] + fresh + old[size : size + 1234]
    upload, meta = begin(store, "new", len(wanted))
    token = Token()
    parts = [
        store.copy_part(upload, 1, store, "old", version, 0, size, token),
        store.put_part(upload, 2, fresh, Token()),
        store.copy_part(upload, 3, store, "old", version, size, 1234, token),
    ]
    moved = token.meter.take()
    assert moved.get("bytes.sent", 0) == moved.get("bytes.received", 0) == 0
    if store.limits.remote:
        assert moved["bytes.copied_server_side"] == size + 1234
    assert [p.size for p in parts] == [size, size, 1234]
    assert parts[0].crc64 in (None, crc64nvme(old[:size]))
    commit = store.complete(upload, parts, meta, ABSENT, crc64nvme(wanted), Token())
    assert read(store, "new", commit.version) == wanted


def copies_whole_objects_alone(store: Store) -> bool:
    return str(store.limits.part_copy) == "whole"


def test_an_object_grows_by_the_parts_that_are_sent_after_the_whole_old_one(store: Store) -> None:
    if not copies_whole_objects_alone(store):
        pytest.skip("this store copies ranges")
    old, tail = body_of(store, 2), bytes_like(4321, 9)[:4321]
    version = put(store, "f", old, mtime_ns=1).version
    upload, meta = begin(store, "f", len(old) + len(tail))
    token = Token()
    parts = [
        store.copy_part(upload, 1, store, "f", version, 0, len(old), token),
        store.put_part(upload, 2, tail, Token()),
    ]
    moved = token.meter.take()
    assert moved.get("bytes.sent", 0) == moved.get("bytes.received", 0) == 0
    assert moved["bytes.copied_server_side"] == len(old)
    assert read(store, "f") == old
    parts = [Part.unwire(p.wire()) for p in parts]
    commit = store.complete(upload, parts, meta, version, crc64nvme(old + tail), Token())
    assert read(store, "f", commit.version) == old + tail
    assert list(store.list_uploads(Token())) == []


def test_a_copied_range_is_pinned_to_the_version_it_was_planned_from(store: Store) -> None:
    stale = unused_version(store)
    size = part_size(store)
    old = body_of(store, 1)
    version = put(store, "old", old).version
    upload, _ = begin(store, "new", size)
    if store.limits.part_conditional:
        with pytest.raises(VersionMismatch):
            store.copy_part(upload, 1, store, "old", stale, 0, size, Token())
    with pytest.raises(NotFound):
        store.copy_part(upload, 1, store, "nothing", version, 0, size, Token())
    with pytest.raises(Permanent):
        store.copy_part(upload, 1, store, "old", version, len(old) - 10, size, Token())
    assert store.list_parts(upload, Token()) == []
    store.abort(upload, Token())


# names

NAMES = [
    "with space", "new\nline", "per%41cent", "plus+", "hash#", "question?", "\U0001f600", "quo'te\"", "a;b&c=d", "tab\t",
    "semi:colon", "<angle>", "~", "-dash", ".hidden", "ends.", "ends ", " starts", "ü", "u\u0308", "CASE", "case",
    "x" * 255, "é" * 127, "deep/" * 60 + "f",
]  # fmt: skip


def test_names_are_kept_to_the_byte(store: Store) -> None:
    names = [n for n in NAMES if store.limits.case_sensitive or n != "case"]
    if store.limits.name.startswith("azure"):  # the service takes no control characters and may drop a last dot
        for name in ("new\nline", "tab\t", "ends."):
            names.remove(name)
            with pytest.raises(BadName):
                put(store, name)
    if store.limits.name.startswith("gcs"):  # the service takes no line feed in a name
        names.remove("new\nline")
        with pytest.raises(BadName):
            put(store, "new\nline")
    for name in names:
        put(store, name, name.encode())
    assert objects(store) == sorted(names)
    for name in names:
        assert read(store, name) == name.encode(), name
        head = store.head(name, Token())
        assert head is not None, name
        assert head.entry.size == len(name.encode())
        store.delete(name, head.entry.version, Token())
    assert objects(store) == []


def test_nasty_names_survive_uploads_and_copies(store: Store) -> None:
    for name in ("with space+%41#?&=", "\U0001f600\n'\""):
        name = name.replace("\n", "\t") if store.limits.name.startswith("gcs") else name
        name = name.replace("\n", "") if store.limits.name.startswith("azure") else name
        upload, meta = begin(store, name, 3)
        assert [k for k, _, _ in store.list_uploads(Token())] == ([] if opens_nothing(store) else [name])
        parts = send(store, upload, b"abc")
        assert [k for k, _, _ in store.list_uploads(Token())] == [name]
        version = store.complete(upload, parts, meta, ABSENT, None, Token()).version
        store.copy(store, name + " copy", name, version, Meta(), ABSENT, Token())
        assert read(store, name + " copy") == b"abc"


def test_a_key_that_is_too_long_is_a_bad_name(store: Store) -> None:
    limits = store.limits
    long = "/".join(["x" * 200] * (limits.max_key // 200 + 1))
    with pytest.raises(BadName):
        store.put(long, b"", Meta(), ABSENT, Token())
    if limits.max_segment is not None:
        with pytest.raises(BadName):
            store.put("y" * (limits.max_segment + 1), b"", Meta(), ABSENT, Token())
    assert objects(store) == []


def test_the_empty_key_is_a_bad_name(store: Store) -> None:
    with pytest.raises(BadName):
        store.put("", b"", Meta(), ABSENT, Token())


# folders


def test_a_folder_gets_its_final_metadata_at_the_end(store: Store) -> None:
    put(store, "d/", b"")
    put(store, "d/f", b"x")
    meta = Meta(mtime_ns=1_400_000_000_000_000_007, mode=0o750)
    assert store.finish_folder("d/", meta, Token()) == ()
    assert store.finish_folder("d/", meta, Token()) == ()
    head = store.head("d/", Token())
    assert head is not None
    assert head.entry.kind is Kind.DIR
    if store.limits.folders:
        assert (head.entry.mtime_ns, head.entry.mode) == (1_400_000_000_000_000_007, 0o750)
        entry = next(e for e in store.list(Token()) if e.key == "d/")
        assert (entry.mtime_ns, entry.mode) == (1_400_000_000_000_000_007, 0o750)
    else:
        # SeaweedFS makes a folder of the object and drops its metadata; the strict fake must keep it
        assert head.meta.mtime_ns in (1_400_000_000_000_000_007, *([None] if has_flaw(store, FORGETS_FOLDERS) else []))
    assert read(store, "d/f") == b"x"


# the token


def test_the_meter_counts_bodies_and_a_remote_stores_requests(store: Store) -> None:
    token = Token()
    store.put("f", b"12345", Meta(), ABSENT, token)
    put(store, "g", b"x")
    with store.open("f", "", token) as reader:
        assert b"".join(reader) == b"12345"
    store.head("f", token)
    list(store.list(token))
    store.delete("f", ANY, token)
    upload = store.create_upload("u", 3, part_size(store), Meta(generation=GENERATION), token)
    part = store.put_part(upload, 1, b"abc", token)
    store.complete(upload, [part], Meta(generation=GENERATION), ABSENT, None, token)
    store.abort(store.create_upload("u", 3, part_size(store), Meta(generation=RIVAL), token), token)
    counted = token.meter.take()
    if not store.limits.remote:  # a mounted filesystem: no traffic
        assert not {k for k in counted if k.startswith("requests.")}
        assert not {"bytes.sent", "bytes.received"} & set(counted)
    else:
        assert counted["bytes.received"] == 5
        assert counted["bytes.sent"] == 8
        names = ("put", "get", "head", "delete", "part", "complete", "abort")
        requests = {n: counted.get(f"requests.{n}", 0) for n in names}
        if opens_nothing(store):  # parts that are objects are looked for and removed; of others nothing is asked
            assert all(requests[n] for n in names if n != "abort")
            assert "requests.create" not in counted
        else:
            assert requests == dict.fromkeys(names, 1)
            assert counted["requests.create"] == 2
        assert counted["requests.list"] >= 1


def test_bytes_that_are_not_payload_count_as_overhead(store: Store) -> None:
    token = Token()
    store.put("f", b"12345", Meta(), ABSENT, token, overhead=True)
    with store.open("f", "", token, overhead=True) as reader:
        b"".join(reader)
    counted = token.meter.take()
    assert counted.get("bytes.overhead", 0) == (10 if store.limits.remote else 0)
    assert not {"bytes.sent", "bytes.received"} & set(counted)


def test_a_cancelled_token_lets_nothing_happen(store: Store) -> None:
    put(store, "f", b"old")
    token = Token()
    token.cancel(Cancelled("the job was cancelled"))
    for call in (
        lambda: store.put("g", b"x", Meta(), ABSENT, token),
        lambda: store.head("f", token),
        lambda: list(store.list(token)),
        lambda: store.delete("f", ANY, token),
    ):
        with pytest.raises(Cancelled):
            call()
    assert objects(store) == ["f"]


def test_limits_travel_as_plain_values(store: Store) -> None:
    assert Limits(**store.limits.wire()) == store.limits  # type: ignore[arg-type]
    assert store.limits.name
