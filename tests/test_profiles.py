"""``[profiles.NAME]`` of the configuration file: how a store of Google or Azure is reached by another name."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hugesync_tasks import config
from hugesync_tasks.errors import UsageError
from hugesync_tasks.profiles import others_may_read, profile

KNOWN = frozenset({"endpoint", "account", "key"})


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    path = tmp_path / "hugesync" / "config.toml"
    path.parent.mkdir()
    path.touch(mode=0o600)
    return path


def test_a_profile_is_what_the_file_says_and_no_key_of_the_settings(file: Path) -> None:
    file.write_text('jobs = 3\n[profiles.cold]\naccount = "a"\nkey = "c2VjcmV0"\n')
    assert dict(profile("cold", KNOWN)) == {"account": "a", "key": "c2VjcmV0"}
    assert config.load().jobs == 3
    assert "c2VjcmV0" not in repr(config.provenance())


def test_what_is_wrong_with_a_profile_is_said_by_name_and_never_with_its_secret(file: Path) -> None:
    for text, words in (
        ('[profiles.warm]\naccount = "a"\n', r"'cold' is not in .*there: warm"),
        ("jobs = 3\n", "there: none"),
        ('[profiles.cold]\nacount = "a"\n', "'acount' .did you mean account"),
        ('[profiles.cold]\nregion = "a"\n', "known here: account, endpoint, key"),
        ("[profiles.cold]\nkey = 5\n", "key must be a text"),
        ("profiles = 5\n", "is not in"),
        ("[profiles.cold\n", "cannot read"),
    ):
        file.write_text(text)
        with pytest.raises(UsageError, match=words):
            profile("cold", KNOWN)
    file.unlink()
    with pytest.raises(UsageError, match="there is no"):
        profile("cold", KNOWN)


def test_a_secret_that_others_may_read_is_refused(file: Path) -> None:
    file.write_text('[profiles.cold]\nkey = "c2VjcmV0"\n[profiles.open]\nendpoint = "http://h"\n')
    file.chmod(0o640)
    with pytest.raises(UsageError, match="chmod 600") as caught:
        profile("cold", KNOWN)
    assert "c2VjcmV0" not in str(caught.value)
    assert profile("open", KNOWN)["endpoint"] == "http://h"


@pytest.mark.parametrize(
    ("mode", "owner", "user", "refused"),
    [
        (0o600, 10001, 10001, False), (0o640, 10001, 10001, True), (0o604, 10001, 10001, True),
        (0o440, 0, 10001, False), (0o444, 0, 10001, True), (0o640, 0, 0, True), (0o600, 0, 0, False),
    ],
)  # fmt: skip
def test_a_file_that_root_gave_to_our_group_alone_is_ours_as_a_mounted_secret_of_kubernetes_is(
    mode: int, owner: int, user: int, refused: bool
) -> None:
    status = os.stat_result((0o100000 | mode, 1, 1, 1, owner, 10001, 1, 0, 0, 0))
    assert others_may_read(status, user) is refused
