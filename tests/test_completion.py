"""``hugesync completion``: what bash does with it in a terminal, and the text for the shells that are not here."""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from pathlib import Path

import pytest

from hugesync_producer import cli_jobs
from hugesync_producer.cli import SUBMIT, invoke, submit_command
from hugesync_producer.cli_setup import COMMANDS, SHELLS

PROGRAMS = {
    "hugesync": "from hugesync_producer.cli import hugesync as main",
    "hugesync-submit": "from hugesync_producer.cli import submit as main",
    "hugesync-worker": "from hugesync_worker.__main__ import main",
    "hugesync-exporter": "from hugesync_worker.exporter import main",
}


def printed(capsys: pytest.CaptureFixture[str], shell: str) -> str:
    assert invoke(cli_jobs.hugesync_commands, "hugesync", ["completion", shell]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out


def test_a_shell_that_is_not_known_is_bad_usage_and_a_near_one_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(cli_jobs.hugesync_commands, "hugesync", ["completion", "fihs"]) == 2
    assert "Did you mean 'fish'?" in capsys.readouterr().err


@pytest.mark.parametrize("shell", SHELLS)
def test_each_shell_is_told_of_all_commands(capsys: pytest.CaptureFixture[str], shell: str) -> None:
    said = printed(capsys, shell)
    registered = {
        "bash": "complete -o nosort -F _{0}_completion {1}\n",
        "zsh": "compdef _{0}_completion {1}\n",
        "fish": 'complete --no-files --command {1} --arguments "(_{0}_completion)"',
    }
    for name in COMMANDS:
        function = name.replace("-", "_")
        assert registered[shell].format(function, name) in said
        assert f"_{function.upper()}_COMPLETE={shell}_complete" in said


@pytest.mark.parametrize(
    ("shell", "words", "offered"),
    [
        ("zsh", "hugesync-submit --on-conflict k", "plain\nkeep-both\n"),
        ("zsh", "hugesync-submit --events x", "file\nx\n"),
        ("zsh", "hugesync-submit s", "file\ns\n"),
        ("fish", "hugesync-submit --check", "plain,--checksum\t"),
    ],
)
def test_what_a_shell_is_answered(
    monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes], shell: str, words: str, offered: str
) -> None:
    monkeypatch.setenv("_HUGESYNC_SUBMIT_COMPLETE", f"{shell}_complete")
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", words.split()[-1] if shell == "fish" else str(len(words.split()) - 1))
    with pytest.raises(SystemExit) as end:
        invoke(submit_command, SUBMIT, [])
    assert end.value.code == 0
    assert offered in capsysbinary.readouterr().out.decode()


class Terminal:
    """An interactive bash on a terminal of its own, with our commands on its PATH."""

    def __init__(self, folder: Path) -> None:
        for name, program in PROGRAMS.items():
            script = folder / "bin" / name
            script.parent.mkdir(exist_ok=True)
            script.write_text(f"#!{sys.executable}\nimport sys\n{program}\nsys.exit(main())\n")
            script.chmod(0o755)
        env = {
            "PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "PYTHONPATH": os.pathsep.join(sys.path), "TERM": "dumb",
            "HOME": str(folder), "PS1": "$ ",
        }  # fmt: skip
        self.pid, self.fd = os.forkpty()
        if self.pid == 0:  # nothing of ours runs in the child
            os.chdir(folder)
            os.execvpe("bash", ["bash", "--norc", "--noprofile", "-i"], env)
        self._readable = select.poll()  # select() knows no descriptor above 1,023
        self._readable.register(self.fd, select.POLLIN)

    def type(self, keys: str, until: str, within: float = 60) -> str:
        """Send ``keys``; what the terminal shows, as soon as ``until`` is in it."""
        os.write(self.fd, keys.encode())
        shown, end = "", time.monotonic() + within
        while until not in shown:
            assert time.monotonic() < end, shown
            if self._readable.poll(200):
                shown += os.read(self.fd, 65536).decode(errors="replace")
        return shown

    def end(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.fd)


def test_bash_completes_commands_options_choices_and_paths(tmp_path: Path) -> None:
    (tmp_path / "holiday-pictures").mkdir()
    bash = Terminal(tmp_path)
    try:
        bash.type("source <(hugesync completion bash); echo rea''dy\n", "ready")
        bash.type("hugesync compl\t", "completion ")
        bash.type("\x15hugesync-submit --on-con\t", "--on-conflict ")
        bash.type("kee\t", "keep-both ")
        bash.type("holi\t", "holiday-pictures/")
        bash.type("\x15hugesync-worker --concu\t", "--concurrency ")
    finally:
        bash.end()
