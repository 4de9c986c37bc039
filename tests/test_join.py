"""The join against a dictionary; listings behind their buffer; and an input out of order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from threading import Barrier, Event
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hugesync_producer.join import Hint, JoinItem, join
from hugesync_producer.planfeed import PlanFeed
from hugesync_producer.scan import END, Feed, Signal
from hugesync_tasks.errors import AccessDenied, Cancelled, Permanent
from hugesync_tasks.model import Entry, Kind, Meta
from hugesync_tasks.spec import Location, Spec
from hugesync_tasks.stages.context import JobContext
from hugesync_tasks.stores.base import ABSENT, Limits
from hugesync_tasks.stores.memory import MemoryStore
from hugesync_tasks.token import Meter, Token


class Script:
    """A side that plays a list; None in it is a moment in which nothing comes."""

    def __init__(self, name: str, plays: list, start_after: str = "") -> None:  # type: ignore[type-arg]
        self.name, self.start_after, self._plays = name, start_after, iter(plays)
        self.polls = 0

    def poll(self, timeout: float) -> object:
        self.polls += 1
        play = next(self._plays, END)
        if isinstance(play, Exception):
            raise play
        return play


def entry(key: str, size: int = 0) -> Entry:
    return Entry(key, Kind.FILE, size)


keys = st.text(alphabet="ab/-.\u00e9\uff5e\U0001f600", min_size=1, max_size=4)


@st.composite
def side(draw: st.DrawFn, make: Callable[[str], object]) -> list[object]:
    plays: list[object] = []
    for key in sorted(draw(st.sets(keys, max_size=12))):
        plays.extend([None] * draw(st.integers(0, 2)))
        plays.append(make(key))
    return plays


@given(side(lambda k: entry(k, 1)), side(lambda k: entry(k, 2)), side(lambda k: Hint(k, "v", 3)))
def test_the_join_is_the_dictionary_of_both_sides_in_byte_order(source: list, dest: list, hints: list) -> None:  # type: ignore[type-arg]
    ours, theirs, asides = ({e.key: e for e in plays if e is not None} for plays in (source, dest, hints))
    items = [i for i in join(Script("s", source), Script("d", dest), Script("h", hints), timeout=0) if i is not None]
    assert items == [
        JoinItem(k, ours.get(k), theirs.get(k), asides.get(k))
        for k in sorted(ours.keys() | theirs.keys(), key=str.encode)
    ]


@given(side(lambda k: entry(k, 1)), side(lambda k: entry(k, 2)))
def test_without_extras_the_join_ends_with_the_source(source: list, dest: list) -> None:  # type: ignore[type-arg]
    full = [i for i in join(Script("s", source), Script("d", dest), timeout=0) if i]
    part = [i for i in join(Script("s", source), Script("d", dest), timeout=0, extras=False) if i]
    assert [i for i in part if i.source] == [i for i in full if i.source]
    last = max((i.key for i in full if i.source), default="")
    assert all(i.key <= last for i in part)


def test_without_extras_the_rest_of_the_destination_is_not_read() -> None:
    dest = Script("d", [entry(f"k{i:03}") for i in range(100)])
    assert [i.key for i in join(Script("s", [entry("k001")]), dest, extras=False) if i] == ["k000", "k001"]
    assert dest.polls <= 3


def test_nothing_yet_is_said_and_nothing_goes_before_both_sides_are_known() -> None:
    items = list(join(Script("s", [entry("b")]), Script("d", [None, None, entry("a")]), timeout=0))
    assert [i and i.key for i in items] == [None, None, "a", "b"]


@pytest.mark.parametrize("plays", [["a", "c", "b"], ["a", "a"], ["a/x", "a!"], ["\U0001f600", "\uff5e"]])
@pytest.mark.parametrize("which", ["source", "destination"])
def test_an_input_out_of_order_ends_the_join_before_its_entry_is_paired(plays: list[str], which: str) -> None:
    scripts = {
        n: Script(n, [entry(k) for k in plays] if n == which else [entry("\U0010ffff")])
        for n in ("source", "destination")
    }
    seen: list[str] = []
    with pytest.raises(Permanent, match=which) as caught:
        for item in join(scripts["source"], scripts["destination"]):
            assert item is not None
            seen.append(item.key)
    assert caught.value.key == plays[-1]
    assert seen == plays[: len(seen)]
    assert len(seen) < len(plays)


def test_an_entry_at_or_before_the_start_of_a_resumed_listing_ends_the_join() -> None:
    with pytest.raises(Permanent, match="source"):
        list(join(Script("source", [entry("b")], start_after="b"), Script("d", [], start_after="b")))


def test_what_a_side_raises_comes_out() -> None:
    with pytest.raises(AccessDenied):
        list(join(Script("s", [entry("a")]), Script("d", [AccessDenied("no")])))


class Listing:
    """A store that can only list."""

    limits = Limits("fake")

    def __init__(self, make: Callable[[Token], Iterator[Entry]]) -> None:
        self._make = make
        self.asked: tuple[str, object] | None = None

    def list(self, token: Token, start_after: str = "", enter: object = None) -> Iterator[Entry]:
        self.asked = (start_after, enter)
        return self._make(token)


def feed(make: Callable[[Token], Iterator[Entry]], capacity: int = 10_000) -> Feed:
    return Feed(Listing(make), Token(), name="source", capacity=capacity).start()  # type: ignore[arg-type]


def drain(from_feed: Feed) -> list[str]:
    out = []
    while not isinstance(came := from_feed.poll(10), Signal):
        assert came is not None
        out.append(came.key)
    return out


def test_a_feed_gives_everything_in_order_through_a_small_buffer() -> None:
    wanted = [f"{i:05}" for i in range(5000)]
    assert drain(feed(lambda _: iter([entry(k) for k in wanted]), capacity=8)) == wanted


def test_a_feed_never_reads_ahead_more_than_its_capacity() -> None:
    made = 0
    full = Event()

    def make(_: Token) -> Iterator[Entry]:
        nonlocal made
        for i in range(1000):
            made += 1
            if made == 11:
                full.set()  # the eleventh was made and waits for room
            yield entry(f"{i:04}")

    slow = feed(make, capacity=10)
    assert full.wait(10)
    assert made == 11
    slow.stop()
    assert made == 11


def test_a_listing_that_breaks_gives_what_came_before_and_then_its_error_every_time() -> None:
    def make(_: Token) -> Iterator[Entry]:
        yield entry("a")
        raise AccessDenied("denied", "b")

    broken = feed(make)
    first = broken.poll(10)
    assert isinstance(first, Entry)
    for _ in range(2):
        with pytest.raises(AccessDenied):
            broken.poll(10)


def test_a_slow_listing_is_nothing_yet_and_not_the_end() -> None:
    go = Event()

    def make(_: Token) -> Iterator[Entry]:
        go.wait(10)
        yield entry("a")

    slow = feed(make)
    assert slow.poll(0) is None
    go.set()
    assert drain(slow) == ["a"]
    assert slow.poll(0) is END


def test_a_stopped_feed_cancels_its_listing_and_is_never_taken_for_finished() -> None:
    begun, ended = Event(), Event()

    def make(token: Token) -> Iterator[Entry]:
        try:
            i = 0
            while True:
                token.check()
                yield entry(f"{i:09}")
                begun.set()
                i += 1
        finally:
            ended.set()

    endless = feed(make, capacity=4)
    assert begun.wait(10)
    endless.stop()
    assert ended.wait(10)
    with pytest.raises(Cancelled):
        for _ in range(10):
            endless.poll(1)


def test_a_feed_passes_start_and_filter_to_the_store() -> None:
    store = Listing(lambda _: iter(()))
    enter = lambda key: True  # noqa: E731
    drain(Feed(store, Token(), name="d", start_after="k", enter=enter).start())  # type: ignore[arg-type]
    assert store.asked == ("k", enter)


def test_both_ends_are_listed_at_the_same_time() -> None:
    """Neither listing gives an entry before the other has begun, so one after the other would never end."""
    begun = Barrier(2)

    class End(MemoryStore):
        def list(self, *args: Any) -> Iterator[Entry]:
            begun.wait(10)
            return super().list(*args)

    source, dest = End(), End()
    for key in ("a", "b"):
        source.put(key, b"x", Meta(), ABSENT, Token())
    ends = Location("file", local="/source"), Location("file", local="/dest")
    plan = PlanFeed(JobContext(Spec("job", *ends), source, dest), Meter())
    plan.start()
    try:
        assert sum(segment.tally.files["found"] for segment in plan.segments()) == 2
    finally:
        plan.stop()
