"""Ring 3: every call of every kind of job fails in every way, and the job, run again where the failure ended it, comes to the
same bytes with nothing left behind. ``MATRIX="delta upload:37:reply lost"`` replays one."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from cloud_matrix import WIRE, CloudMatrix
from flows import CLOUD_FLOWS, FLOWS, Flow
from hugesync_tasks.summary import Summary
from matrix import CALLS, STREAMS, Matrix, Strike, temporary_root
from simulated import one_core

ALL: dict[str, Flow] = FLOWS | CLOUD_FLOWS
OFTEN = ("upload in parts to gs", "append to gs", "upload in parts to az", "delta upload to az")
WIRED = " on the wire"
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
    made = CloudMatrix if kind in CLOUD_FLOWS else Matrix
    with temporary_root() as folder, pytest.MonkeyPatch.context() as monkeypatch, one_core():
        sim = made(flow=replace(ALL[kind]), root=Path(folder), strike=strike)
        try:
            summary = sim.play(monkeypatch)
            sim.check(summary)
        except BaseException as error:
            story = "\n".join(sim.story[-60:])
            raise AssertionError(
                f"MATRIX={f'{kind}:{strike.call}:{strike.mode}{WIRED * strike.wire}'!r} ({sim.struck_at}): {type(error).__name__}: {error}\n{story}"
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


def on_the_wire(sim: Matrix) -> list[Strike]:
    """Every (request, mode) that there is; none where no adapter speaks HTTP."""
    requests = sim.requests if isinstance(sim, CloudMatrix) else []
    return [Strike(n, mode, wire=True) for n in range(1, len(requests) + 1) for mode in WIRE]


def sample(calls: list[str]) -> list[Strike]:
    """Of each mode the calls at equal distances, of another mode other ones; and every call that makes or ends something."""
    chosen = {s: None for s in pairs(calls) if calls[s.call - 1].startswith(ALWAYS)}
    for i, mode in enumerate((*CALLS, *STREAMS)):
        of_mode = [strike for strike in pairs(calls) if strike.mode == mode]
        step = max(1, len(of_mode) // SAMPLE)
        chosen |= dict.fromkeys(of_mode[i % step :: step])
    return list(chosen)


def asked_for(kind: str) -> bool:
    """Whether ``MATRIX`` names a pair; it is played if it is of ``kind``."""
    wanted = os.environ.get("MATRIX", "")
    if wanted.startswith(f"{kind}:"):
        _, call, mode = wanted.split(":")
        play(kind, Strike(int(call), mode.removesuffix(WIRED), wire=mode.endswith(WIRED)))
    return bool(wanted)


@pytest.mark.parametrize("kind", FLOWS)
def test_any_call_may_fail_in_any_way(kind: str) -> None:
    if not asked_for(kind):
        for strike in sample(faultless(kind).calls):
            play(kind, strike)


@pytest.mark.parametrize("kind", OFTEN)
def test_a_commit_to_google_or_azure_may_fail_at_any_request(kind: str) -> None:
    """And some other requests; all of them, all calls and all kinds of job at full scale."""
    if asked_for(kind):
        return
    sim = faultless(kind)
    assert isinstance(sim, CloudMatrix)
    wire = on_the_wire(sim)
    commits = [s for s in wire if sim.requests[s.call - 1].endswith(("/compose ", " blocklist"))]
    for strike in dict.fromkeys([*commits[-3:], *wire[:: max(1, len(wire) // 3)]]):
        play(kind, strike)


@pytest.mark.full
@pytest.mark.parametrize("kind", ALL)
def test_every_call_fails_in_every_way(kind: str) -> None:
    failed, sim = [], faultless(kind)
    for strike in [*pairs(sim.calls), *on_the_wire(sim)]:
        try:
            play(kind, strike)
        except AssertionError as error:
            failed.append(str(error).split("\n")[0])
    assert failed == [], "\n".join(failed)
