"""Ring 3: every call of every kind of job fails in every way, and the job, run again where the failure ended it, comes to the
same bytes with nothing left behind. ``MATRIX="delta upload:37:reply lost"`` replays one."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from flows import FLOWS
from hugesync_tasks.summary import Summary
from matrix import CALLS, STREAMS, Matrix, Strike, temporary_root
from simulated import one_core

SAMPLE = 10  # of each mode, per kind of job, at reduced scale
ALWAYS = (
    "create_upload ",
    "complete ",
    "overwrite ",
    "copy ",
    "batch.finish",
    "delete ",
)  # and these calls in any mode


def play(kind: str, strike: Strike) -> tuple[Matrix, Summary]:
    with temporary_root() as folder, pytest.MonkeyPatch.context() as monkeypatch, one_core():
        sim = Matrix(flow=replace(FLOWS[kind]), root=Path(folder), strike=strike)
        try:
            summary = sim.play(monkeypatch)
            sim.check(summary)
        except BaseException as error:
            story = "\n".join(sim.story[-60:])
            raise AssertionError(
                f"MATRIX={f'{kind}:{strike.call}:{strike.mode}'!r} ({sim.struck_at}): {type(error).__name__}: {error}\n{story}"
            ) from error
        finally:
            sim.close()
        return sim, summary


def faultless(kind: str) -> Matrix:
    """A run without faults: its calls are those that are struck."""
    sim, summary = play(kind, Strike(0, ""))
    assert sim.restarts == 0
    flow = sim.flow
    assert summary.transfers[flow.how] >= 1, f"{kind} did not go as {flow.how}: {summary.transfers}, {summary.notes}"
    if flow.how == "delta":
        assert summary.bytes["reused"] + summary.bytes["copied_server_side"] > 0
    return sim


def pairs(calls: list[str]) -> list[Strike]:
    """Every (call, mode) that there is."""
    found = [Strike(n, mode) for n in range(1, len(calls) + 1) for mode in CALLS]
    opened = [n for n, what in enumerate(calls, 1) if what.startswith("open ")]
    return [*found, *(Strike(n, mode) for n in opened for mode in STREAMS)]


def sample(calls: list[str]) -> list[Strike]:
    """Of each mode the calls at equal distances, of another mode other ones; and every call that makes or ends something."""
    chosen = {s: None for s in pairs(calls) if calls[s.call - 1].startswith(ALWAYS)}
    for i, mode in enumerate((*CALLS, *STREAMS)):
        of_mode = [strike for strike in pairs(calls) if strike.mode == mode]
        step = max(1, len(of_mode) // SAMPLE)
        chosen |= dict.fromkeys(of_mode[i % step :: step])
    return list(chosen)


@pytest.mark.parametrize("kind", FLOWS)
def test_any_call_may_fail_in_any_way(kind: str) -> None:
    if "MATRIX" in os.environ:
        name, call, mode = os.environ["MATRIX"].split(":")
        if name == kind:
            play(kind, Strike(int(call), mode))
        return
    for strike in sample(faultless(kind).calls):
        play(kind, strike)


@pytest.mark.full
@pytest.mark.parametrize("kind", FLOWS)
def test_every_call_fails_in_every_way(kind: str) -> None:
    failed = []
    for strike in pairs(faultless(kind).calls):
        try:
            play(kind, strike)
        except AssertionError as error:
            failed.append(str(error).split("\n")[0])
    assert failed == [], "\n".join(failed)
