"""Run ``hugesync-submit`` as a user does: a process of its own, with state, configuration and sockets of its own."""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
_SUBMIT = "import sys; sys.argv[0] = 'hugesync-submit'; from hugesync_producer.cli import submit; sys.exit(submit())"
_VERIFY = "import sys; sys.argv[0:1] = ['hugesync', 'verify']; from hugesync_producer.cli import hugesync; sys.exit(hugesync())"
ORDINARY = 65534 if os.geteuid() == 0 else os.geteuid()  # uid of a user without rights
_PR_CAPBSET_DROP = 24
_CHOWN, _DAC_OVERRIDE, _DAC_READ_SEARCH, _FOWNER = 0, 1, 2, 3
OUTCOMES = ("done", "skipped", "failed", "pending")


@dataclass(frozen=True)
class Ran:
    """What a run left: exit code, both streams, and the object of ``--json``."""

    code: int
    out: str
    err: str
    json: dict[str, Any]

    @property
    def files(self) -> dict[str, int]:
        return self.json["files"]

    @property
    def bytes(self) -> dict[str, int]:
        return self.json["bytes"]

    @property
    def moved(self) -> tuple[int, int]:
        """Bytes sent and received."""
        return self.bytes["sent"], self.bytes["received"]

    @property
    def failures(self) -> dict[str, str]:
        """Path -> message."""
        return {f["path"]: f["message"] for f in self.json["failures"]}

    @property
    def classes(self) -> dict[str, str]:
        """Path -> class of its failure."""
        return {f["path"]: f["class"] for f in self.json["failures"]}


@dataclass
class Submit:
    """``Submit(folder)(SRC, DST, ...)``. ``env`` is added to the environment of every run."""

    folder: Path
    env: dict[str, str] = field(default_factory=dict)
    program: str = _SUBMIT

    @property
    def verify(self) -> Submit:
        """The same for ``hugesync verify``."""
        return replace(self, program=_VERIFY)

    def environment(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("HUGESYNC_", "AWS_", "XDG_", "PYTHON"))}
        paths = [str(ROOT), str(ROOT / "producer"), str(ROOT / "worker")]
        return {
            **kept,
            "PYTHONPATH": os.pathsep.join(paths),
            "XDG_STATE_HOME": str(self.folder / "state"),
            "XDG_CONFIG_HOME": str(self.folder / "config"),
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
            **self.env,
        }

    def start(
        self, *args: str | bytes | os.PathLike[str], weak: bool = False, ordinary: bool = False, **popen: Any
    ) -> subprocess.Popen[bytes]:
        """The process, not waited for. ``weak``: without root's power over modes and owners. ``ordinary``: by a user who is
        not root, whoever runs the test; ``folder`` must be writable for ``ORDINARY``."""
        command = [*(as_ordinary_user() if ordinary else ()), sys.executable, "-c", self.program, *args]
        popen.setdefault("env", self.environment())
        if weak and os.geteuid() == 0:
            popen["preexec_fn"] = _as_anybody()
        popen.setdefault("stdin", subprocess.DEVNULL)
        popen.setdefault("stderr", subprocess.PIPE)
        return subprocess.Popen(command, stdout=subprocess.PIPE, **popen)

    def __call__(
        self,
        *args: str | bytes | os.PathLike[str],
        weak: bool = False,
        ordinary: bool = False,
        timeout: float = 300,
        stdin: bytes | None = None,
        json: bool = True,
        **popen: Any,
    ) -> Ran:
        """Run to the end. With ``json`` the law, the exit code and the streams are checked, whatever the outcome."""
        if stdin is not None:
            popen["stdin"] = subprocess.PIPE
        process = self.start(*args, *(["--json"] if json else []), weak=weak, ordinary=ordinary, **popen)
        try:
            out, err = process.communicate(stdin, timeout)
        except BaseException:
            process.kill()
            process.communicate()
            raise
        ran = Ran(process.returncode, out.decode(), err.decode(errors="replace"), as_object(out) if json else {})
        assert "Traceback" not in ran.err or "--debug" in args, ran.err
        if json:
            assert_true(ran)
        return ran


def as_object(out: bytes) -> dict[str, Any]:
    """The one JSON object that ``out`` is."""
    found = json.loads(out)
    assert isinstance(found, dict), out
    return found


_CODES: Mapping[str, int] = {
    "done": 0, "done_with_errors": 1, "usage": 2, "conflict": 3, "refused": 4, "stalled": 5, "interrupted": 130,
    "cancelled": 130, "running": 0,
}  # fmt: skip


def assert_true(ran: Ran) -> None:
    """The law, and what else must hold of every run (design §6)."""
    for what in ("files", "bytes"):
        counted = ran.json[what]
        assert counted["found"] == sum(counted[name] for name in OUTCOMES), (what, counted)
    assert ran.code == _CODES[ran.json["state"]], (ran.code, ran.json, ran.err)
    ended_well = ran.json["state"] in ("done", "done_with_errors")
    if ended_well and not ran.json["dry_run"]:
        assert ran.files["pending"] == ran.bytes["pending"] == 0, ran.json
        assert ran.json["scan_complete"], (ran.err, ran.json)
        assert sum(ran.json["skipped_by"].values()) == ran.files["skipped"], ran.json
        assert len(ran.json["failures"]) + ran.json["failures_omitted"] >= ran.files["failed"], ran.json
    if ran.code != 0:
        assert ran.err.strip() or ran.json["failures"], "a failure without a word"


def assert_moved_nothing(ran: Ran) -> None:
    """A second run with nothing to do."""
    assert ran.code == 0, (ran.json, ran.err)
    assert ran.files["done"] == ran.files["failed"] == 0, ran.json
    assert ran.moved == (0, 0), ran.json
    assert ran.files["skipped"] == ran.files["found"] > 0, ran.json


def as_ordinary_user() -> tuple[str, ...]:
    """What goes before a command so that it is run by ``ORDINARY``; nothing where the test itself is run by no root.

    One power stays: to read, because Python is often installed where only root can read. Nothing of root's to change.
    """
    if os.geteuid() != 0:
        return ()
    to_read = "-all,+dac_read_search"
    return (
        "setpriv", f"--reuid={ORDINARY}", f"--regid={ORDINARY}", "--clear-groups", f"--inh-caps={to_read}",
        f"--ambient-caps={to_read}", f"--bounding-set={to_read}",
    )  # fmt: skip


def _as_anybody() -> Callable[[], None]:
    """Root keeps its uid and loses its power over modes, so that a folder of mode 000 is closed to it as to anybody.

    A child of another uid would do as well, were Python not so often installed where only root can read.
    """
    prctl = ctypes.CDLL(None, use_errno=True).prctl

    def drop() -> None:
        for capability in (_CHOWN, _DAC_OVERRIDE, _DAC_READ_SEARCH, _FOWNER):
            prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)

    return drop
