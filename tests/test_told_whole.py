"""The end of a job is told whole, whatever signal comes then; the second one means it."""

from __future__ import annotations

import os
import signal

import pytest

from hugesync_producer import cli_run
from hugesync_producer.cli_run import Output, run, stoppable, unstoppable
from hugesync_tasks.summary import Observer, State, Summary


def myself(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_that_comes_when_the_job_is_over_leaves_its_code_and_its_object(
    number: signal.Signals, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    conclude = cli_run.conclude

    def struck(out: Output, summary: Summary, began: bool) -> int:
        myself(number)
        return conclude(out, summary, began)

    def work(observer: Observer) -> Summary:
        return Summary(State.DONE, "job", scan_complete=True)

    monkeypatch.setattr(cli_run, "conclude", struck)

    assert run(Output("hugesync-submit", as_json=True), work) == 0
    assert '"state": "done"' in capsys.readouterr().out


def test_a_second_signal_ends_a_telling_that_nobody_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli_run, "leave", lambda code: code)

    with pytest.raises(SystemExit) as ended, stoppable(), unstoppable():
        myself(signal.SIGTERM)
        myself(signal.SIGTERM)

    assert ended.value.code == 130


@pytest.mark.parametrize(("quiet", "said"), [(False, "hugesync-submit: handed to the fleet; ...\n"), (True, "")])
def test_of_a_job_that_is_handed_over_stdout_has_the_id_and_nothing_else(
    quiet: bool, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def work(observer: Observer) -> Summary:
        observer.on_start("4711", False)
        return Summary(State.RUNNING, "4711", notes=("handed to the fleet; ...",))

    assert run(Output("hugesync-submit", quiet=quiet), work) == 0
    assert capsys.readouterr() == ("4711\n", said)
