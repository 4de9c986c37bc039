"""Include and exclude rules. The recorded cases are those of rsync's manual and of its own wildmatch and exclude tests."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hugesync_producer.filterrules import RuleReader
from hugesync_producer.filters import Filter
from hugesync_producer.patterns import Pattern
from hugesync_tasks.errors import UsageError
from hugesync_tasks.model import Entry, Kind
from hugesync_tasks.names import encode_name
from hugesync_tasks.spec import Selection

# (pattern, path, a folder?, matches?)
RSYNC = [
    # no slash: the last component at any depth, whole
    ("foo", "foo", False, True),
    ("foo", "a/b/foo", False, True),
    ("foo", "foo", True, True),
    ("foo", "foobar", False, False),
    ("foo", "a/foo/b", False, False),
    ("*.o", "x.o", False, True),
    ("*.o", "a/x.o", False, True),
    ("*.o", "a/x.c", False, False),
    # trailing slash: folders only
    ("foo/", "foo", True, True),
    ("foo/", "a/foo", True, True),
    ("foo/", "foo", False, False),
    ("f*/", "a/foo", True, True),
    # leading slash: anchored
    ("/foo", "foo", False, True),
    ("/foo", "a/foo", False, False),
    ("/foo/bar", "foo/bar", False, True),
    ("/*", "a", True, True),
    ("/*", "a/b", False, False),
    ("/foo/*/bar", "foo/x/bar", False, True),
    ("/foo/*/bar", "foo/x/y/bar", False, False),
    ("/", "a", False, False),
    # inner slash: the tail of the path
    ("foo/bar", "foo/bar", False, True),
    ("foo/bar", "x/foo/bar", False, True),
    ("foo/bar", "xfoo/bar", False, False),
    ("foo/bar", "foo/bar/x", False, False),
    ("sub/*.c", "x/sub/a.c", False, True),
    ("sub/*.c", "x/sub/y/a.c", False, False),
    # ** crosses slashes
    ("/foo/**/bar", "foo/x/bar", False, True),
    ("/foo/**/bar", "foo/x/y/bar", False, True),
    ("/foo/**/bar", "foo/bar", False, False),
    ("/foo/**", "foo/x/y", False, True),
    ("/foo/**", "foo", True, False),
    ("foo/**", "x/foo/y/z", False, True),
    ("foo**bar", "x/foo/y/bar", False, True),
    ("foo**bar", "x/yfoo/y/bar", False, False),
    ("**/foo", "foo", False, True),
    ("**/foo", "a/b/foo", False, True),
    ("**/foo", "a/xfoo", False, False),
    ("**foo", "a/xfoo", False, True),
    ("**", "a/b", False, True),
    # dir/***: the folder and everything in it
    ("foo/***", "foo", True, True),
    ("foo/***", "foo", False, False),
    ("foo/***", "foo/a/b", False, True),
    ("foo/***", "x/foo/a", False, True),
    ("/foo/***", "foo", True, True),
    ("/foo/***", "x/foo", True, False),
    ("/foo/***", "foobar", True, False),
    # ? and classes never match a slash
    ("a?b", "axb", False, True),
    ("/a?b", "a/b", False, False),
    ("/a[/]b", "a/b", False, False),
    ("/a[!x]b", "a/b", False, False),
    ("/a[+-0]b", "a/b", False, False),
    ("[a-c]x", "bx", False, True),
    ("[a-c]x", "dx", False, False),
    ("[!a-c]x", "dx", False, True),
    ("[^a-c]x", "bx", False, False),
    ("[]]x", "]x", False, True),
    ("[!]]x", "]x", False, False),
    ("[]-]x", "-x", False, True),
    ("[\\]]x", "]x", False, True),
    ("[a-]x", "-x", False, True),
    ("[\\-_]x", "-x", False, True),
    ("[[:alpha:]]x", "zx", False, True),
    ("[[:alpha:]]x", "1x", False, False),
    ("[[:digit:][:upper:]]x", "Ax", False, True),
    ("[![:space:]]x", " x", False, False),
    ("[[:nothing:]]x", "nx", False, False),
    ("[z-a]x", "bx", False, False),
    ("[!z-a]x", "bx", False, True),
    ("[ab", "[ab", False, False),
    ("[a^b]x", "^x", False, True),
    ("[&&a]x", "&x", False, True),
    ("[[a]x", "[x", False, True),
    # a backslash escapes only where there is a wildcard
    ("foo\\bar", "foo\\bar", False, True),
    ("foo\\bar*", "foobarx", False, True),
    ("foo\\bar*", "foo\\barx", False, False),
    ("foo\\*bar", "foo*bar", False, True),
    ("foo\\*bar", "fooxbar", False, False),
    ("\\[*", "[x", False, True),
    # what is special elsewhere is not here
    ("a.b", "axb", False, False),
    ("{a,b}", "a", False, False),
    ("a+", "aa", False, False),
    ("*", "a\nb", False, True),
    ("*", ".hidden", False, True),
    ("A", "a", False, False),
]


@pytest.mark.parametrize(("pattern", "path", "folder", "matches"), RSYNC)
def test_a_pattern_matches_as_in_rsync(pattern: str, path: str, folder: bool, matches: bool) -> None:
    assert Pattern(pattern).matches(path, folder) is matches


@given(st.text(alphabet="ab/*?[]!^-\\:.\n", max_size=12), st.text(alphabet="ab]-./\n", max_size=8), st.booleans())
def test_any_text_is_a_pattern_and_any_path_an_answer(pattern: str, path: str, folder: bool) -> None:
    assert Pattern(pattern).matches(path, folder) in (True, False)


@given(st.text(alphabet="ab.-\u00e9", min_size=1, max_size=8), st.text(alphabet="ab/", max_size=6))
def test_a_plain_name_matches_itself_at_any_depth(name: str, above: str) -> None:
    assert Pattern(name).matches(f"{above}/{name}", False)
    assert Pattern("/" + name).matches(name, False)


def file(key: str, size: int = 10) -> Entry:
    return Entry(key, Kind.FILE, size)


def test_the_first_rule_that_matches_decides() -> None:
    rules = Filter([("+", "keep.o"), ("-", "*.o"), ("+", "*.o")])
    assert rules.selects(file("a/keep.o"))
    assert not rules.selects(file("a/x.o"))
    assert rules.selects(file("a/x.c"))


def test_the_manuals_example_of_including_one_kind_of_file_works_while_descending() -> None:
    rules = Filter([("+", "*/"), ("+", "*.c"), ("-", "*")])
    assert rules.enter("src/")
    assert rules.enter("src/deep/")
    assert rules.selects(file("src/deep/a.c"))
    assert not rules.selects(file("src/deep/a.h"))


def test_the_manuals_example_that_fails_because_a_parent_is_excluded_fails_here_too() -> None:
    rules = Filter([("+", "/some/path/this-file-will-not-be-found"), ("+", "/file-is-included"), ("-", "*")])
    assert not rules.enter("some/")
    assert rules.selects(file("file-is-included"))


def test_an_excluded_folder_is_not_entered_and_a_file_of_its_name_is_selected() -> None:
    rules = Filter([("-", "cache/")])
    assert not rules.enter("a/cache/")
    assert not rules.selects(Entry("a/cache/", Kind.DIR))
    assert rules.selects(file("a/cache"))
    assert rules.enter("a/cached/")


def test_a_link_is_matched_by_its_own_name() -> None:
    rules = Filter([("-", "*.txt")])
    assert not rules.selects(Entry("a.txt.rclonelink", Kind.LINK, 3))
    assert rules.selects(file("a.txt.rclonelink"))
    assert rules.selects(Entry("b.rclonelink", Kind.LINK, 3))


def test_skipped_links_do_not_take_part_and_the_other_settings_come_from_the_selection() -> None:
    link = Entry("b.rclonelink", Kind.LINK, 3)
    assert Filter.of(Selection()).selects(link)
    skipping = Filter.of(Selection(filters=(("-", "x"),), min_size=2, max_size=4, links="skip"))
    assert not skipping.selects(link)
    assert [skipping.selects(file("f", n)) for n in (1, 2, 4, 5)] == [False, True, True, False]
    assert not skipping.selects(file("x", 3))


def test_sizes_limit_regular_files_only_and_are_inclusive() -> None:
    rules = Filter(min_size=10, max_size=20)
    assert [rules.selects(file("f", n)) for n in (9, 10, 20, 21)] == [False, True, True, False]
    assert rules.selects(Entry("d/", Kind.DIR))
    assert rules.selects(Entry("l.rclonelink", Kind.LINK, 3))
    assert rules.selects(Entry("p", Kind.SPECIAL))


def test_an_unreadable_entry_is_asked_by_name_only() -> None:
    rules = Filter([("-", "private/")], min_size=10)
    assert not rules.selects(Entry("private/", Kind.ERROR, note="denied"))
    assert rules.selects(Entry("f", Kind.ERROR, note="denied"))


def rules_of(*filters: str, files: dict[str, bytes] | None = None) -> list[tuple[str, str]]:
    reader = RuleReader(lambda name: (files or {})[name])
    for text in filters:
        reader.filter(text)
    return reader.rules


def test_a_rules_file_has_comments_blank_lines_explicit_actions_and_a_clear() -> None:
    content = {
        "one": b"# comment\n; comment\n\n*.o\n+ keep.o\n- *.a\r\n#not a rule\n x \n caf\xe9\n", "two": b"!\nonly"
    }  # fmt: skip
    reader = RuleReader(content.__getitem__)
    reader.rules.append(("-", "earlier"))
    reader.old_file("one", "-")
    assert reader.rules == [
        ("-", "earlier"), ("-", "*.o"), ("+", "keep.o"), ("-", "*.a"), ("-", " x "), ("-", " caf\u201bE9")
    ]  # fmt: skip
    reader.old_file("two", "+")
    assert reader.rules == [("+", "only")]


def test_an_argument_may_say_what_it_is_and_an_empty_one_is_refused() -> None:
    reader = RuleReader(lambda _: b"")
    reader.old("+ a", "-")
    reader.old("-b", "+")
    assert reader.rules == [("+", "a"), ("+", "-b")]
    for bad in ("", "+ ", "- "):
        with pytest.raises(UsageError):
            reader.old(bad, "-")


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("- *.o", ("-", "*.o")),
        ("-_*.o", ("-", "*.o")),
        ("+  x", ("+", " x")),
        ("exclude *.o", ("-", "*.o")),
        ("include,s_x", ("+s", "x")),
        ("hide x", ("-s", "x")),
        ("H x", ("-s", "x")),
        ("show x", ("+s", "x")),
        ("protect,p x", ("-pr", "x")),
        ("P x", ("-r", "x")),
        ("Rp x", ("+pr", "x")),
        ("risk x", ("+r", "x")),
        ("-! */", ("-!", "*/")),
        ("-sr/! x", ("-!/rs", "x")),
        ("-,/ /etc/x", ("-/", "/etc/x")),
    ],
)
def test_a_filter_rule_in_each_spelling(text: str, rule: tuple[str, str]) -> None:
    assert rules_of(text) == [rule]


@pytest.mark.parametrize("clear", ["!", "clear"])
def test_a_filter_rule_clears_the_rules_before_it(clear: str) -> None:
    assert rules_of("- a", clear, "- b") == [("-", "b")]


def test_a_merged_file_stands_in_the_place_of_its_rule_and_gives_its_modifiers() -> None:
    files = {
        "rules": b"# no rule\n; nor this\n\n+ a\nP b\n. inner\n",
        "inner": b"- c\n",
        "plain": b"x\n+ y\n",
        "words": b"-_x\n +_y\tH_z",
        ".cvsignore": b"p q\n ! r",
    }
    assert rules_of("- 1", ". rules", "- 2", files=files) == [
        ("-", "1"), ("+", "a"), ("-r", "b"), ("-", "c"), ("-", "2")
    ]  # fmt: skip
    assert rules_of("merge,- plain", files=files) == [("-", "x"), ("-", "+ y")]
    assert rules_of("merge,+/ plain", files=files) == [("+/", "x"), ("+/", "+ y")]
    assert rules_of("merge,we words", files=files) == [("-", "words"), ("-", "x"), ("+", "y"), ("-s", "z")]
    assert rules_of(".sp inner", files=files) == [("-ps", "c")]
    assert rules_of("- 1", ".C", files=files) == [("-", "r")]
    with pytest.raises(UsageError, match="names a side"):
        rules_of(".r rules", files=files)
    with pytest.raises(UsageError, match="deep"):
        rules_of(". loop", files={"loop": b". loop"})
    with pytest.raises(UsageError, match="loop: unknown filter rule 'x'"):
        rules_of(". loop", files={"loop": b"x"})


def test_cvs_own_list_can_be_merged(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("CVSIGNORE", "mine.*")
    (tmp_path / ".cvsignore").write_text("one  two\n")
    rules = rules_of("- a", "-C")
    assert rules[:2] == [("-", "a"), ("-p", "RCS")]
    assert rules[-3:] == [("-", "one"), ("-", "two"), ("-", "mine.*")]
    (tmp_path / ".cvsignore").write_text("one ! two\n")
    assert rules_of("- a", "-Cs") == [("-", "a"), ("-s", "two"), ("-s", "mine.*")]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (": .rules", "dir-merge"),
        ("dir-merge,n .rules", "dir-merge"),
        ("-x user.*", "extended attributes"),
        (".n FILE", "n is of dir-merge"),
        ("-e x", "'e' is no modifier"),
        ("Hs x", "'s' is no modifier"),
        ("-q x", "'q' is no modifier"),
        (".! FILE", "'!' is no modifier"),
        (".-+ FILE", "only one of"),
        ("-C x", "stands alone"),
        ("HC", "'C' is no modifier"),
        ("! x", "after the !"),
        ("-", "no pattern"),
        ("-s", "no pattern"),
        (".", "names no file"),
        ("", "unknown filter rule"),
        ("x y", "unknown filter rule"),
        ("excluded y", "unknown filter rule"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(text: str, why: str) -> None:
    with pytest.raises(UsageError, match=re.escape(why)):
        rules_of(text)


def test_each_side_has_its_own_rules() -> None:
    rules = rules_of("H hidden", "P protected", "- both", "-sr always")
    select = Filter(rules)
    assert [select.shows(file(k)) for k in ("hidden", "protected", "both", "always", "x")] == [
        False,
        True,
        False,
        False,
        True,
    ]
    assert [select.protects(file(k)) for k in ("hidden", "protected", "both", "always", "x")] == [
        False, True, True, True, False
    ]  # fmt: skip
    select = Filter(rules, delete_excluded=True)
    assert [select.protects(file(k)) for k in ("hidden", "protected", "both", "always")] == [False, True, False, True]


def test_a_perishable_rule_protects_nothing_in_a_folder_that_goes() -> None:
    select = Filter([("-p", "*.o")])
    assert select.protects(file("d/x.o"))
    assert not select.protects(file("d/x.o"), doomed=True)
    assert not select.enter("x.o/")
    assert select.enter_to_delete("x.o/")
    assert Filter([("-s", "d/"), ("+pr", "d/"), ("-r", "d/")]).enter_to_delete("d/")


def test_an_absolute_rule_is_compared_with_each_ends_own_path() -> None:
    select = Filter([("-/", "/src/a"), ("-/", "dst/b"), ("-/", "**/src/c")], source_root="src", dest_root="mnt/dst")
    assert [select.shows(file(k)) for k in ("a", "b", "c", "x/src/a")] == [False, True, True, True]
    assert [select.protects(file(k)) for k in ("a", "b", "c")] == [False, True, False]
    assert not Filter([("-/", "**/src/c")], source_root="mnt/src").shows(file("c"))


def test_a_byte_that_is_no_utf_8_is_one_character() -> None:
    select = Filter([("-", "caf?"), ("-", "[^a-z]x")])
    assert [select.shows(file(encode_name(n))) for n in (b"caf\xe9", b"caf\xe9\xe9", b"\xffx", "café".encode())] == [
        False, True, False, False
    ]  # fmt: skip
