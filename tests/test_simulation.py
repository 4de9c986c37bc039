"""Ring 4: many seeds of ``simulation.py``. A failing one is printed with its story; ``SEED=n pytest tests/test_simulation.py``
replays it. At full scale more than 10,000 are played; more, and on every core, by ``python tests/seeds.py``."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from chaos import KINDS
from hugesync_producer.jobfolder import JobFolder
from oracle import check, check_second_run
from scale import factor, scaled
from simulated import one_core
from simulation import Simulation

SEEDS = [int(os.environ["SEED"])] if "SEED" in os.environ else range(scaled(1200) if factor() >= 1 else 25)


@pytest.mark.parametrize("kind", KINDS)
def test_any_schedule_ends_with_a_true_summary_and_a_whole_destination(kind: str, tmp_path: Path) -> None:
    for seed in SEEDS:
        replay(kind, seed, tmp_path / str(seed))


def replay(kind: str, seed: int, path: Path) -> None:
    folder = JobFolder(path, "sim") if seed % 2 else None
    if folder is not None:
        folder.open()
    sim = Simulation(seed, KINDS[kind], folder, same_bucket=seed % 5 == 4)
    with pytest.MonkeyPatch.context() as monkeypatch, one_core():
        try:
            summary = sim.play(monkeypatch)
            check(sim, summary)
            if kind == "drained":
                assert not any("never ended" in failure.message for failure in summary.failures), (
                    "a drain is no attempt"
                )
            if sim.recorded and not (sim.rivals or sim.edits or summary.failures):
                check_second_run(sim, sim.play(monkeypatch))
        except BaseException as error:
            story = "\n".join(sim.story[-int(os.environ.get("STORY", "200")) :])
            raise AssertionError(f"{kind}, SEED={seed}: {type(error).__name__}: {error}\n{story}") from error
        finally:
            sim.end()
