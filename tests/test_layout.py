"""From copies to parts: whole, legal, the least uploaded (every plan is tried beside it), on edges where that costs nothing."""

from __future__ import annotations

import random
import time
from bisect import bisect_right
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hugesync_tasks import layout
from hugesync_tasks.delta.ops import Copy
from hugesync_tasks.layout import EDGE, IllegalLayout, PlannedPart, lay_out, uploaded
from hugesync_tasks.stores.base import GIB, MIB, Limits
from oracle_delta import least_uploaded

S3 = Limits("s3")


def limits(least: int, most: int, most_copy: int, parts: int = 1000) -> Limits:
    return Limits("small", min_part=least, max_part=most, max_parts=parts, max_copy=most_copy)


def legal(parts: list[PlannedPart], copies: list[Copy], size: int, bound: Limits, most: int | None = None) -> None:
    """Said by itself, not by ``layout.check``: whole, within the limits, and every copied part inside one copy."""
    assert [p.number for p in parts] == list(range(1, len(parts) + 1))
    assert len(parts) <= bound.max_parts
    assert parts[0].start == 0
    assert all(a.start + a.length == b.start for a, b in pairwise(parts))
    assert parts[-1].start + parts[-1].length == size
    assert all(p.length >= bound.min_part for p in parts[:-1])
    for p in parts:
        assert 0 < p.length <= bound.max_part
        if p.source is None:
            assert p.length <= (most or bound.max_part)
        else:
            assert p.length <= bound.max_copy
            of = copies[bisect_right(copies, p.start, key=lambda c: c.at) - 1]
            assert of.at <= p.start <= p.start + p.length <= of.end
            assert p.start - p.source == of.shift


def spans(*where: tuple[int, int]) -> list[Copy]:
    return [Copy(a, 1000 * i + a, b - a) for i, (a, b) in enumerate(where, 1)]


@st.composite
def cases(draw: st.DrawFn) -> tuple[list[Copy], int, int]:
    """Copies in a small file, and the least length of a part; adjoining copies of other places among them."""
    size = draw(st.integers(1, 44))
    least = draw(st.integers(1, 6))
    cuts = sorted(draw(st.sets(st.integers(0, size), max_size=14)))
    kinds = draw(st.lists(st.booleans(), min_size=len(cuts), max_size=len(cuts)))
    return spans(*(span for span, copied in zip(pairwise(cuts), kinds, strict=False) if copied)), size, least


@settings(max_examples=500, deadline=None)
@example((spans((0, 4), (5, 9), (10, 14)), 20, 4), 9, 9, 9, 5)  # the one in the middle is given up
@example((spans((0, 6), (7, 11), (12, 16), (17, 23)), 30, 4), 9, 9, 9, 5)  # the two in the middle
@example((spans((0, 8), (9, 13)), 20, 4), 9, 9, 9, 5)  # only the first can lend
@example((spans((0, 4), (5, 12)), 20, 4), 9, 9, 9, 5)  # only the second
@given(cases(), st.integers(1, 30), st.integers(1, 30), st.integers(1, 20), st.integers(1, 7))
def test_a_layout_is_legal_and_uploads_the_least_of_all_that_there_are(
    case: tuple[list[Copy], int, int], more: int, more_copy: int, step: int, edge: int
) -> None:
    copies, size, least = case
    bound = limits(least, 3 * least + more, 3 * least + more_copy)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout, "EDGE", edge)
        patch.setattr(layout, "COPY_STEP", 9)
        parts = lay_out(copies, size, bound, step)
    legal(parts, copies, size, bound)
    assert uploaded(parts) == least_uploaded(
        [(c.at, c.end) for c in copies], size, least, bound.max_part, min(bound.max_copy, bound.max_part), 100
    )


@settings(max_examples=300, deadline=None)
@given(cases(), st.integers(1, 9))
def test_with_too_many_parts_as_much_is_kept_as_fits_but_for_about_one_copy(
    case: tuple[list[Copy], int, int], most: int
) -> None:
    copies, size, least = case
    bound = limits(least, 200, 200, most)
    parts = lay_out(copies, size, bound, 100)
    legal(parts, copies, size, bound)
    best = least_uploaded([(c.at, c.end) for c in copies], size, least, 200, 200, most)
    assert best is not None
    assert best <= uploaded(parts) <= best + max((c.length for c in copies), default=0)


@pytest.mark.full
def test_of_many_copies_worth_the_same_as_many_are_kept_as_fit() -> None:
    copies = [Copy(i * 51 * MIB, i * 51 * MIB + 7, 50 * MIB) for i in range(9_000)]
    size = 9_000 * 51 * MIB
    parts = lay_out(copies, size, S3, 64 * MIB, GIB)
    legal(parts, copies, size, S3, GIB)
    assert len(parts) > 9_900
    assert sum(p.source is not None for p in parts) > 4_700


def test_larger_parts_are_uploaded_before_a_copy_is_given_up() -> None:
    copies = [Copy(200 * GIB, 0, 100 * GIB)]
    size = 300 * GIB
    few = Limits("few", max_parts=1_000)
    parts = lay_out(copies, size, few, 64 * MIB, GIB)
    legal(parts, copies, size, few, GIB)
    assert uploaded(parts) == 200 * GIB


@pytest.mark.full
def test_a_hundred_thousand_copies_are_laid_out_within_seconds() -> None:
    rng = random.Random(1)
    copies, at = [], 0
    for i in range(100_000):
        length = rng.choice([50 * MIB, rng.randrange(1, 100 * MIB)])
        copies.append(Copy(at, at + i + 1, length))
        at += length + rng.randrange(1, MIB)
    began = time.process_time()
    parts = lay_out(copies, at, S3, 64 * MIB, 2 * GIB)
    assert time.process_time() - began < 30  # 6 here
    legal(parts, copies, at, S3, 2 * GIB)
    assert len(parts) > 9_900


def test_a_change_in_the_middle_is_uploaded_from_edge_to_edge() -> None:
    for at in (3 * EDGE + 1, 3 * EDGE - 4096, 4 * EDGE - 8192, 7 * MIB + 77):
        size = 100 * MIB
        copies = [Copy(0, 0, at), Copy(at + 4096, at + 4096, size - at - 4096)]
        parts = lay_out(copies, size, S3, 64 * MIB)
        legal(parts, copies, size, S3)
        assert uploaded(parts) == EDGE
        (sent,) = [p for p in parts if p.source is None]
        if at % EDGE + 4096 <= EDGE:
            assert (sent.start % EDGE, sent.length) == (0, EDGE)


def test_an_edge_is_not_taken_where_it_would_cost_a_byte() -> None:
    copies = [Copy(0, 0, 12 * MIB), Copy(19 * MIB, 19 * MIB, 81 * MIB)]  # 7 MiB changed, across an edge
    parts = lay_out(copies, 100 * MIB, S3, 64 * MIB)
    assert [(p.start, p.length) for p in parts if p.source is None] == [(12 * MIB, 7 * MIB)]


@given(st.lists(st.tuples(st.integers(0, 12 * MIB), st.integers(1, 40 * MIB)), max_size=12), st.integers(0, 9 * MIB))
def test_edges_never_cost_a_byte(raw: list[tuple[int, int]], rest: int) -> None:
    copies, at = [], 0
    for gap, length in raw:
        at += gap
        copies.append(Copy(at, at + 1 + len(copies), length))
        at += length
    size = max(1, at + rest)
    parts = lay_out(copies, size, S3, 8 * MIB)
    legal(parts, copies, size, S3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout, "_on_edges", lambda kept, least, size: [k.copy for k in kept])
        assert uploaded(parts) == uploaded(lay_out(copies, size, S3, 8 * MIB))


@pytest.mark.parametrize("size", [5 * GIB, 5 * GIB + 1, 12 * GIB - 1, 5 * MIB + 1, 5 * MIB, 1])
def test_copies_beyond_what_one_request_may_copy_are_cut(size: int) -> None:
    copies = [Copy(0, 3, size)]
    parts = lay_out(copies, size, S3, 64 * MIB)
    legal(parts, copies, size, S3)
    assert uploaded(parts) == 0


def test_what_a_worker_can_hold_is_never_exceeded() -> None:
    for size in (75 * MIB, 130 * MIB - 1, GIB + 1):
        parts = lay_out([], size, S3, 64 * MIB, 74 * MIB)
        legal(parts, [], size, S3, 74 * MIB)


@pytest.mark.parametrize(
    ("size", "bound", "step", "most"),
    [
        (0, S3, 64 * MIB, None),
        (GIB, limits(5 * MIB, 5 * MIB, 5 * MIB), 5 * MIB, None),  # nothing between the least and the most
        (GIB, S3, 64 * MIB, 4 * MIB),  # a worker that cannot hold the least part
        (GIB, Limits("few", max_parts=5), 64 * MIB, 100 * MIB),
        (3 * GIB, Limits("none", max_copy=MIB), 64 * MIB, None),
    ],
)
def test_where_no_legal_layout_is_found_none_is_given(size: int, bound: Limits, step: int, most: int | None) -> None:
    with pytest.raises(IllegalLayout):
        lay_out([Copy(0, 9, size // 2)] if size else [], size, bound, step, most)


@settings(max_examples=200, deadline=None)
@given(st.randoms(use_true_random=False), st.booleans(), st.integers(3, 9))
def test_copies_that_could_never_be_parts_are_left_out_and_change_nothing(
    rnd: random.Random, even: bool, parts: int
) -> None:
    """Of half a million copies no more are chosen among than could matter, or the choice alone would take 800 MB."""
    copies, at = [], 0
    for i in range(rnd.randint(40, 120)):
        at += rnd.choice([0, 1, 3, 5, 9, 20])
        copies.append(Copy(at, 1000 * i, 10 if even else rnd.choice([5, 6, 10, 11, 30, 31])))
        at = copies[-1].end
    bound = limits(5, 2000, 2000, parts)
    some = layout._most(copies, 3 * parts + 3)
    assert 3 * parts + 3 <= len(some) <= 6 * parts + 6

    def least(copies: list[Copy]) -> int:
        return uploaded(lay_out(copies, at, bound, 50, 1000))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout, "EDGE", 5)
        mine = least(copies)
        patch.setattr(layout, "_most", lambda copies, sure: copies)
        assert mine == least(copies)
