"""Configuration: layers, provenance, and mistakes that are named."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from hugesync_tasks import config_docs
from hugesync_tasks.config import Settings, config_file, environment, load, option_help, provenance
from hugesync_tasks.config_units import parse_duration, parse_size, show_duration, show_size
from hugesync_tasks.config_words import OPTIONS, default_text
from hugesync_tasks.errors import UsageError
from hugesync_tasks.spec import Options

REPO = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder without configuration, and an environment without ours."""
    for name in [n for n in os.environ if n.startswith(("HUGESYNC_", "XDG_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def write(text: str) -> Path:
    config_file().parent.mkdir(parents=True, exist_ok=True)
    config_file().write_text(text)
    return config_file()


def source_of(key: str, cli: dict[str, object] | None = None) -> tuple[str, str]:
    return next((p.value, p.source) for p in provenance(cli) if p.key == key)


# --- layers ---------------------------------------------------------------------------------------


def test_without_anything_set_the_defaults_are_those_of_a_job(home: Path) -> None:
    settings = load()
    job = Options()

    assert (settings.jobs, settings.memory, settings.retries) == (job.jobs, job.memory, job.retries)
    assert (settings.conflict_retries, settings.part_size) == (job.conflict_retries, job.part_size)
    assert settings.stall_timeout == job.stall_timeout
    assert settings.broker_url == settings.ledger_url == ""
    assert settings.state_dir == home / ".local/state/hugesync"
    assert {p.source for p in provenance()} == {"default"}


def test_each_layer_wins_over_the_ones_below_it(monkeypatch: pytest.MonkeyPatch) -> None:
    path = write("jobs = 2\nretries = 3\nmemory = '1GiB'\n")
    monkeypatch.setenv("HUGESYNC_JOBS", "4")
    monkeypatch.setenv("HUGESYNC_RETRIES", "6")

    settings = load({"jobs": 8, "retries": None})

    assert (settings.jobs, settings.retries, settings.memory) == (8, 6, 1 << 30)
    assert source_of("jobs", {"jobs": 8}) == ("8", "command line")
    assert source_of("retries", {"retries": None}) == ("6", "HUGESYNC_RETRIES")
    assert source_of("memory") == ("1GiB", str(path))
    assert source_of("log_format") == ("text", "default")


@pytest.mark.parametrize("key", list(Settings.model_fields))
def test_every_key_is_taken_from_its_variable_and_from_the_file(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    values = {
        "broker_url": "redis://a/1", "state_url": "rediss://b/2", "queue_prefix": "blue", "jobs": "7", "memory": "1GiB",
        "bwlimit": "5MiB/s", "tpslimit": "2.5/s", "weight": "4", "retries": "9", "retry_max_wait": "5s", "conflict_retries": "1", "stall_timeout": "1m", "modify_window": "2s", "part_size": "64MiB", "start_timeout": "5m",
        "log_format": "json", "state_dir": "/s", "runtime_dir": "/r", "worker_roots": "/w", "worker_concurrency": "3",
        "drain_timeout": "7s", "autoscale_min": "2", "autoscale_max": "5",
        "metrics_port": "9464", "metrics_host": "0.0.0.0",
        "task_event_names": "hidden",
        "buffers_enabled": "false", "buffers_budget": "64MiB", "buffers_size": "2MiB", "buffers_min": "8KiB", "buffers_max": "32MiB",
        "buffers_reuse_from": "8MiB", "buffers_log_interval": "1m",
    }  # fmt: skip

    quoted = f'["{values[key]}"]' if key == "worker_roots" else f'"{values[key]}"'
    path = write(f"{key} = {quoted}\n")
    assert source_of(key) == (values[key], str(path))

    path.unlink()
    monkeypatch.setenv(f"HUGESYNC_{key.upper()}", values[key])
    assert source_of(key) == (values[key], f"HUGESYNC_{key.upper()}")


def test_the_file_is_found_through_xdg_config_home_unless_that_is_relative(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "elsewhere"))
    assert config_file() == home / "elsewhere/hugesync/config.toml"

    monkeypatch.setenv("XDG_CONFIG_HOME", "relative")
    assert config_file() == home / ".config/hugesync/config.toml"


def test_state_and_runtime_folders_follow_xdg(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(home / "st"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(home))

    assert load().state_dir == home / "st/hugesync"
    assert load().runtime_dir == home

    monkeypatch.setenv("XDG_RUNTIME_DIR", str(home / "gone"))
    assert load().runtime_dir is None


def test_worker_roots_are_a_list_in_the_file_and_separated_as_in_path_in_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write('worker_roots = ["data=/mnt/data", "/srv"]\n')
    assert load().worker_roots == ("data=/mnt/data", "/srv")

    monkeypatch.setenv("HUGESYNC_WORKER_ROOTS", "a=/x:/y")
    assert load().worker_roots == ("a=/x", "/y")


@pytest.mark.parametrize("roots", [("a=/x", "/y"), ("/with:colon", "b=/z"), ("[x]=/y",), ()])
def test_a_child_process_reads_from_its_environment_what_the_options_said(
    roots: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {
        "broker_url": "redis://:s3cret@a/1",
        "memory": "1.5GiB",
        "stall_timeout": "90.000001s",
        "worker_roots": roots,
    }
    here = load(given)

    for name, value in environment({**given, "jobs": None}).items():
        monkeypatch.setenv(name, value)

    assert load() == here
    assert "HUGESYNC_JOBS" not in os.environ


def test_roots_that_begin_like_json_but_are_not_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUGESYNC_WORKER_ROOTS", "[/a")

    with pytest.raises(UsageError, match="HUGESYNC_WORKER_ROOTS"):
        load()


def test_an_empty_variable_counts_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUGESYNC_JOBS", "")

    assert source_of("jobs") == ("0", "default")


def test_the_ledger_is_where_the_broker_is_unless_it_has_an_address_of_its_own() -> None:
    assert load({"broker_url": "redis://a"}).ledger_url == "redis://a"
    assert load({"broker_url": "redis://a", "state_url": "redis://b"}).ledger_url == "redis://b"


def test_settings_cannot_be_changed_after_loading() -> None:
    with pytest.raises(ValidationError):
        load().jobs = 3  # type: ignore[misc]


# --- mistakes -------------------------------------------------------------------------------------


def test_an_unknown_key_in_the_file_is_named_with_the_file_and_a_near_one() -> None:
    path = write("broker_ulr = 'redis://a'\n")

    with pytest.raises(UsageError) as error:
        load()

    assert "'broker_ulr'" in str(error.value)
    assert str(path) in str(error.value)
    assert "did you mean broker_url" in str(error.value)


def test_an_unknown_variable_is_named_except_those_of_the_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUGESYNC_TEST_SCALE", "1")
    load()

    monkeypatch.setenv("HUGESYNC_BROKER", "redis://a")
    with pytest.raises(UsageError, match=r"HUGESYNC_BROKER .did you mean HUGESYNC_BROKER_URL"):
        load()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("memory", "lots"), ("memory", "1MiB"), ("memory", "5MiB/s"), ("bwlimit", "quick"), ("bwlimit", "63KiB"), ("tpslimit", "0.4"), ("weight", "0"), ("jobs", "-1"), ("jobs", "many"), ("retries", "0"),
        ("part_size", "4MiB"), ("part_size", "6GiB"), ("stall_timeout", "0"), ("stall_timeout", "soon"),
        ("stall_timeout", "-5m"), ("modify_window", "1ns"), ("log_format", "xml"), ("queue_prefix", "a:b"),
        ("queue_prefix", "{a}"), ("state_dir", "relative"), ("worker_concurrency", "-2"), ("conflict_retries", "1.5"),
    ],
)  # fmt: skip
def test_a_bad_value_is_refused_naming_it_and_where_it_stands(
    key: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"HUGESYNC_{key.upper()}", value)

    with pytest.raises(UsageError) as error:
        load()

    assert key in str(error.value)
    assert repr(value) in str(error.value)
    assert f"HUGESYNC_{key.upper()}" in str(error.value)


def test_every_mistake_is_told_at_once() -> None:
    write("jobs = -1\nlog_format = 'xml'\n")

    with pytest.raises(UsageError, match=r"jobs.*log_format"):
        load()


@pytest.mark.parametrize("key", [k for k, f in Settings.model_fields.items() if not isinstance(f.default, bool)])
def test_true_is_no_value_of_a_key_that_is_no_switch(key: str) -> None:
    write(f"{key} = true\n")

    with pytest.raises(UsageError, match=key):
        load()


def test_the_keys_of_the_buffers_stand_in_a_table_of_the_file() -> None:
    path = write("[buffers]\nenabled = false\nbudget = '64MiB'\n")
    assert (load().buffers_enabled, load().buffers_budget) == (False, 64 << 20)
    assert source_of("buffers_budget") == ("64MiB", str(path))
    assert source_of("buffers_enabled") == ("false", str(path))

    write("[buffers]\nbudgets = 1\n")
    with pytest.raises(UsageError, match=r"unknown key 'buffers_budgets'.*did you mean buffers_budget"):
        load()
    write("[buffers]\nbuffers_size = '2MiB'\n")
    with pytest.raises(UsageError, match=r"unknown key 'buffers_size' in the table \[buffers\] of .*: size$"):
        load()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("min = '2MiB'", "buffers_min <= buffers_size <= buffers_max does not hold: 2MiB, 1MiB, 64MiB"),
        ("size = '128MiB'", "buffers_min <= buffers_size <= buffers_max does not hold"),
        ("max = '512KiB'", "buffers_min <= buffers_size <= buffers_max does not hold"),
        ("min = 100", "must be at least 4KiB"),
        ("max = '2GiB'", "must be at most 1GiB"),
        ("budget = '1MiB'", "must be 0 or at least 32MiB"),
        ("enabled = 'perhaps'", "must be a boolean"),
    ],
)
def test_sizes_of_buffers_that_contradict_each_other_are_refused(text: str, said: str) -> None:
    write(f"[buffers]\n{text}\n")
    with pytest.raises(UsageError, match=said):
        load()


def test_a_file_that_is_not_toml_is_named(home: Path) -> None:
    path = write("jobs = = 2\n")

    with pytest.raises(UsageError, match="is not TOML") as error:
        load()

    assert str(path) in str(error.value)


def test_a_folder_in_place_of_the_file_is_an_error_and_not_taken_for_nothing() -> None:
    config_file().mkdir(parents=True)

    with pytest.raises(UsageError, match="is not a file"):
        load()


# --- secrets --------------------------------------------------------------------------------------

WITH_SECRETS = [
    "redis://me:s3cret@host:6379/1",
    "redis://:s3cret@host",
    "redis+socket:///run/r.sock?password=s3cret&x=1",
]


@pytest.mark.parametrize("url", WITH_SECRETS)
def test_a_password_is_in_the_settings_but_neither_shown_nor_in_their_repr(url: str) -> None:
    settings = load({"broker_url": url})

    assert settings.broker_url == url
    assert "s3cret" not in repr(settings)
    assert "s3cret" not in str(provenance({"broker_url": url}))


def test_an_address_without_secrets_is_shown_as_it_is() -> None:
    for url in ["redis://host:6379/1", "unix:///run/r.sock?db=2", "redis+socket:///run/r.sock"]:
        assert source_of("broker_url", {"broker_url": url})[0] == url


@pytest.mark.parametrize(
    "url",
    ["amqp://me:s3cret@host", "redis://me:s3cret@", "redis://me:s3cret@host:port", "redis+socket://s3cret", "s3cret"],
)
def test_a_bad_address_is_refused_without_quoting_it(url: str) -> None:
    with pytest.raises(UsageError, match="broker_url") as error:
        load({"broker_url": url})

    assert "s3cret" not in str(error.value)
    assert error.value.__cause__ is None


# --- units ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("4096", 4096), (4096, 4096), ("512MiB", 512 << 20), ("512M", 512 << 20), ("1k", 1024), ("512MB", 512 * 10**6),
        (" 1.5 GiB ", 3 << 29), ("0", 0), ("7b", 7), ("1T", 1 << 40),
    ],
)  # fmt: skip
def test_sizes_are_read_as_rsync_and_rclone_users_mean_them(text: str | int, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "MiB", "-1", -1, "1 2", "1MiB/s", "1Mbit", "0x10", "1e3", True, None, 1.5, "١"])
def test_what_is_not_a_size_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="is not a size"):
        parse_size(text)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30m", 1800), ("1h30m", 5400), ("90", 90), (90, 90), (0.5, 0.5), ("250ms", 0.25), ("1d", 86400), ("0s", 0), ("5us", 5e-6)],
)  # fmt: skip
def test_durations_are_read(text: str | float, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "m", "-1s", -1, "5m!3s", "1 fortnight", "nan", float("nan"), float("inf"), True, None]
)
def test_what_is_not_a_duration_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        parse_duration(text)  # type: ignore[arg-type]


@given(st.integers(0, 1 << 60))
def test_a_size_shown_is_read_back_exactly(size: int) -> None:
    assert parse_size(show_size(size)) == size


@given(st.integers(0, 10**12))
def test_a_duration_shown_is_read_back_to_the_microsecond(microseconds: int) -> None:
    assert round(parse_duration(show_duration(microseconds / 1e6)) * 1e6) == microseconds


# --- documents ------------------------------------------------------------------------------------


def test_the_page_of_the_configuration_is_the_one_the_model_makes() -> None:
    assert (REPO / "docs/configuration.md").read_text() == config_docs.page(), "run: make docs"


def test_the_page_does_not_depend_on_who_makes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    before = config_docs.page()
    monkeypatch.setenv("HOME", "/home/another")
    monkeypatch.setenv("HUGESYNC_JOBS", "5")

    assert config_docs.page() == before


def test_the_example_on_the_page_is_accepted() -> None:
    write(config_docs.page().split("```toml\n")[1].split("```")[0])

    assert load().memory == 1 << 30


def test_the_option_that_the_page_names_is_the_one_that_sets_the_key() -> None:
    """Whatever command has it: what is in the page and in no command, or in a command and not in the page, fails here."""
    from hugesync_producer.cli import submit_command
    from hugesync_producer.cli_request import _SETTINGS
    from hugesync_worker.__main__ import main as worker_command

    named = {}
    for command, program in ((worker_command, "hugesync-worker "), (submit_command, "")):
        for param in command.params:
            key = _SETTINGS.get(str(param.name), param.name) if command is submit_command else param.name
            if key in Settings.model_fields:
                named[key] = program + max(param.opts, key=len)
    assert named == OPTIONS
    rows = [line.split(" | ") for line in config_docs.page().splitlines() if line.startswith("| `")]
    assert {r[0].strip("|` "): r[1].strip("`") for r in rows if r[1] != "–"} == named
    assert len(rows) == len(Settings.model_fields)


# --- a file to begin with ---------------------------------------------------------------------------


def init(*args: str) -> int:
    from hugesync_producer.cli import invoke
    from hugesync_producer.cli_jobs import hugesync_commands

    return invoke(hugesync_commands, "hugesync", ["config", "--init", *args])


def keys_of(text: str) -> list[tuple[str, str]]:
    """(table, key) of each that is there as a comment; "" = in none."""
    found, table = [], ""
    for line in text.splitlines():
        if line.startswith("["):
            table = line.strip("[]")
        elif key := re.match(r"# (\w+) = ", line):
            found.append((table, key[1]))
    return found


def test_a_new_file_holds_every_key_as_a_comment_and_sets_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert init() == 0
    assert str(config_file()) in capsys.readouterr().out
    text = config_file().read_text()
    found = {f"{table}_{name}" if table else name for table, name in keys_of(text)}
    assert found == set(Settings.model_fields)
    assert {p.source for p in provenance()} == {"default"}
    assert stat.S_IMODE(config_file().stat().st_mode) == 0o600
    assert [p.name for p in config_file().parent.iterdir()] == ["config.toml"]

    before = load()
    write(re.sub(r"(?m)^# (\w+ = )", r"\1", text))
    differ = {key for key in Settings.model_fields if getattr(load(), key) != getattr(before, key)}
    assert differ == {"state_dir", "runtime_dir"}, "each machine has its own"
    assert {p.source for p in provenance()} == {str(config_file())}


def test_a_file_that_exists_is_kept_unless_it_is_to_be_written_over(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write("jobs = 3\n")
    assert init() == 2
    assert "--force" in capsys.readouterr().err
    assert path.read_text() == "jobs = 3\n"

    kept = home / "dotfiles.toml"
    path.rename(kept)
    path.symlink_to(kept)
    assert init() == 2
    assert init("--force", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"file": str(path), "written": True}
    assert path.is_symlink()
    assert kept.read_text() == config_docs.commented_file()


def test_a_file_that_appears_meanwhile_is_kept_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (write("jobs = 3\n"), real(fd)))
    assert init() == 2
    assert config_file().read_text() == "jobs = 3\n"
    assert [p.name for p in config_file().parent.iterdir()] == ["config.toml"]


@pytest.mark.parametrize("args", [["--broker", "redis://a"], ["--state", "redis://a"]])
def test_what_init_would_not_write_is_refused(args: list[str]) -> None:
    assert init(*args) == 2
    assert not config_file().exists()


def test_a_folder_that_cannot_be_written_is_a_sentence(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / ".config").write_text("in the way")
    assert init() == 2
    assert "cannot write" in capsys.readouterr().err


def test_the_help_of_an_option_tells_meaning_and_default() -> None:
    assert option_help("memory") == f"{Settings.model_fields['memory'].description}  [default: 512MiB]"
    assert all(field.description and default_text(key) is not None for key, field in Settings.model_fields.items())


def test_importing_the_configuration_loads_nothing_heavy() -> None:
    code = "import sys, hugesync_tasks.config; print(sorted({m.split('.')[0] for m in sys.modules}))"
    out = subprocess.run([sys.executable, "-c", code], cwd=REPO, capture_output=True, text=True, check=True).stdout

    for heavy in ("celery", "boto3", "obstore", "redis", "rich", "numpy"):
        assert f"'{heavy}'" not in out
