"""Filter rules against the real rsync: what takes part, and what ``--delete`` removes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rsync_cases import CASES, RECORDED, Case, build, generated, rsync_says, we_say
from scale import scaled


def test_the_recorded_cases_come_out_as_rsync_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("CVSIGNORE", "ignored.by.cvs")
    recorded = json.loads(RECORDED.read_text())["cases"]
    assert len(recorded) == CASES
    assert sum(bool(w["gone"]) for w in recorded) > CASES // 4
    for number, wire in enumerate(recorded):
        case = Case.unwire(wire)
        build(case, tmp_path)
        assert we_say(case, tmp_path) == (wire["selected"], wire["gone"]), f"case {number}: {case}"


@pytest.mark.system
@settings(max_examples=scaled(4000, 400), deadline=None, suppress_health_check=list(HealthCheck))
@given(st.randoms(use_true_random=False))
def test_generated_trees_and_rules_come_out_as_in_rsync(tmp_path_factory: pytest.TempPathFactory, rng: Random) -> None:
    root = tmp_path_factory.mktemp("case")
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("HOME", str(root))
            patch.setenv("CVSIGNORE", "ignored.by.cvs")
            case = generated(rng)
            build(case, root)
            assert we_say(case, root) == rsync_says(case, root), case
    finally:
        shutil.rmtree(root)
