"""Names: one to one, rclone's where rclone can read them. Recorded from rclone copying to its S3 encoding."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hugesync_tasks.errors import BadName
from hugesync_tasks.model import Kind
from hugesync_tasks.names import decode_name, encode_name, is_canonical, is_ours, not_on_filesystem, reserved

Q = "\u201b"
RCLONE = shutil.which("rclone", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))

# (on disk, key): what rclone itself makes of the name
AS_RCLONE = [
    (b"plain", "plain"),
    (b" lead", " lead"),
    (b"trail ", "trail "),
    (b"dot.", "dot."),
    (b"\\", "\\"),
    (b"x\ny", "x\ny"),
    (b"\x01\x7f", "\x01\x7f"),
    (b"\xff", Q + "FF"),
    (b"a\xffb", f"a{Q}FFb"),
    (b"\xff41", Q + "FF41"),
    (b"\xe2\x80", f"{Q}E2{Q}80"),  # cut short
    (b"\xf0\x9f\x98", f"{Q}F0{Q}9F{Q}98"),
    (b"\xc0\xaf", f"{Q}C0{Q}AF"),  # overlong
    (b"\xe0\x80\x80", f"{Q}E0{Q}80{Q}80"),
    (b"\xed\xa0\x80", f"{Q}ED{Q}A0{Q}80"),  # surrogates
    (b"\xed\xa0\x80\xed\xb0\x80", f"{Q}ED{Q}A0{Q}80{Q}ED{Q}B0{Q}80"),
    (b"\xf4\x90\x80\x80", f"{Q}F4{Q}90{Q}80{Q}80"),  # above U+10FFFF
    (b"\xf8\x88\x80\x80\x80", f"{Q}F8{Q}88{Q}80{Q}80{Q}80"),
    ("\ufffd".encode(), "\ufffd"),
    ("\ufffe".encode(), "\ufffe"),
    ("\u0080".encode(), "\u0080"),
    ("\u2400x\u240a\u2421".encode(), "\u2400x\u240a\u2421"),
    ("\uff0f".encode(), "\uff0f"),
    ("\uff0e".encode(), "\uff0e"),
    (f"{Q}\u2400".encode(), f"{Q}\u2400"),
    (f"{Q}\uff0f".encode(), f"{Q}\uff0f"),
    (f"{Q}{Q}".encode(), f"{Q}{Q}"),
]
# rclone lists these and then cannot open them, or gives two of them one key; ours are one to one
OURS = [
    (Q.encode(), Q),
    (f"{Q}x".encode(), f"{Q}x"),
    (f"{Q}FF".encode(), f"{Q}{Q}FF"),
    (f"{Q}ff".encode(), f"{Q}{Q}ff"),
    (f"{Q}0A".encode(), f"{Q}{Q}0A"),
    (f"{Q}{Q}FF".encode(), f"{Q}{Q}{Q}{Q}FF"),
    (Q.encode() + b"\xff", f"{Q}{Q}{Q}FF"),
]
quotes = st.lists(
    st.sampled_from([Q.encode(), b"F", b"f", b"8", b"0", b"\xff", b"\xe2", b"\x80", b"\xc3\xa9", b"/"])
).map(b"".join)
raws = st.one_of(st.binary(), quotes).map(lambda b: b.replace(b"\0", b""))


@pytest.mark.parametrize(("raw", "key"), AS_RCLONE + OURS)
def test_a_recorded_name_becomes_its_key_and_comes_back(raw: bytes, key: str) -> None:
    assert encode_name(raw) == key
    assert decode_name(key) == raw
    assert is_canonical(key)


@pytest.mark.skipif(RCLONE is None, reason="rclone is not installed")
def test_rclone_gives_the_recorded_names_the_same_keys(tmp_path: Path) -> None:
    for i, (raw, _) in enumerate(AS_RCLONE):
        source = os.fsencode(tmp_path) + b"/%d" % i
        os.mkdir(source)
        with open(source + b"/" + raw, "wb"):
            pass
        target = tmp_path / "out"
        encoding = f":local,encoding='Slash,InvalidUtf8,Dot':{target}"
        command = [str(RCLONE), "--config", os.devnull, "copy", source, encoding]
        subprocess.run(command, check=True, capture_output=True, timeout=60)
        assert os.listdir(os.fsencode(target)) == [encode_name(raw).encode()]
        shutil.rmtree(target)


@given(raws)
def test_every_name_has_one_key_that_is_valid_utf8_and_leads_back_to_it(raw: bytes) -> None:
    key = encode_name(raw)
    key.encode()
    assert decode_name(key) == raw
    assert is_canonical(key)
    assert key.count("/") == raw.count(b"/")


@given(raws, raws)
def test_two_names_never_share_a_key(a: bytes, b: bytes) -> None:
    assert (encode_name(a) == encode_name(b)) is (a == b)


@given(raws)
def test_a_path_is_encoded_segment_by_segment(raw: bytes) -> None:
    assert encode_name(raw) == "/".join(encode_name(s) for s in raw.split(b"/"))


@given(st.text(alphabet=[Q, "F", "f", "8", "C", "3", "A", "9", "é", "/", "\ud800", "\udcff"]))
def test_a_key_is_canonical_exactly_when_it_comes_back_from_the_name_it_means(key: str) -> None:
    try:
        back = encode_name(decode_name(key))
    except BadName:
        back = None
    assert is_canonical(key) is (back == key)


@pytest.mark.parametrize("key", [f"{Q}C3{Q}A9", f"{Q}41", f"{Q}ff", f"{Q}{Q}{Q}0A", "\udcff", chr(0xD800)])
def test_a_key_that_means_what_another_key_means_is_not_canonical(key: str) -> None:
    assert not is_canonical(key)
    assert not_on_filesystem(key) is not None


@pytest.mark.parametrize("key", ["a", "a/b", "a/", "..a", "a..", "...", ".hidden", "a b\n", f"{Q}FF", " ", "\u00e9"])
def test_what_a_filesystem_can_hold_is_let_through(key: str) -> None:
    assert not_on_filesystem(key) is None


@pytest.mark.parametrize(
    "key", ["", "/", "/a", "a//b", "a//", ".", "..", "../x", "a/../b", "a/..", "a/./b", "../", "./", "a\0b", "//"]
)
def test_what_would_leave_the_root_or_has_no_name_is_refused(key: str) -> None:
    assert not_on_filesystem(key) is not None


def test_reserved_names_are_ours_and_links_but_never_sidecars() -> None:
    assert reserved("a/.hugesync/b", Kind.FILE)
    assert reserved(".hugesync-0123.part", Kind.FILE)
    assert reserved("a/.hugesyncfoo/", Kind.DIR)
    assert reserved("x.rclonelink", Kind.FILE)
    assert reserved("x.rclonelink", Kind.LINK) is None
    assert reserved("x.hssig", Kind.FILE) is None
    assert reserved("a.hugesync/b", Kind.FILE) is None
    assert is_ours(".hugesync/x")
    assert not is_ours("x.hugesync")
