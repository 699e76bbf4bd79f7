"""Answers to debconf's questions: one line an answer, the later one wins, and no error shows a value."""

from __future__ import annotations

from pathlib import Path

import pytest

from apt_ostree.errors import UsageError
from apt_ostree.inputs import debconf


def test_a_later_answer_to_a_question_replaces_the_earlier_one() -> None:
    text = "p p/q string old\np p/other boolean true\np p/q string new\n"
    assert debconf.normalize(text, "x") == "p p/q string new\np p/other boolean true\n"


def test_answers_of_another_owner_and_the_seen_flag_are_kept_beside_it() -> None:
    text = "p p/q string a\nother p/q string b\np p/q seen false\n"
    assert debconf.normalize(text, "x") == text


def test_newer_answers_win_over_those_of_a_layer() -> None:
    salt, *answers = debconf.merge("p p/q string old\np p/kept string k\n", "p p/q string new\n").splitlines()
    assert salt.startswith("# ")
    assert answers == ["p p/q string new", "p p/kept string k"]


def test_no_digest_of_answers_can_be_guessed_and_it_stays_while_they_do() -> None:
    one, other = (debconf.merge("", "p p/q password hunter2\n") for _ in range(2))
    assert debconf.digest(one) != debconf.digest(other)
    assert debconf.merge(one, "") == debconf.merge(one, "p p/q password hunter2\n") == one
    assert debconf.digest(debconf.merge(one, "p p/q password other\n")) != debconf.digest(one)
    assert debconf.merge("", "# nothing\n") == ""


def test_a_backslash_at_the_end_continues_a_line() -> None:
    assert debconf.normalize("p p/q \\\nmultiselect a, \\\nb\n", "x") == "p p/q multiselect a, b\n"


def test_a_backslash_at_the_end_of_the_text_ends_with_it() -> None:
    assert debconf.normalize("p p/q string a\\", "x") == "p p/q string a\n"


def test_comments_blank_lines_and_carriage_returns_are_left_out_and_blanks_of_a_value_stay() -> None:
    text = "# a comment\n\n  p\tp/q  string  two  words \r\np p/empty string\n"
    assert debconf.normalize(text, "x") == "p\tp/q  string  two  words \np p/empty string\n"


@pytest.mark.parametrize("line", ["p p/q", "p p/q strin s3cret", "one"])
def test_a_line_of_another_form_is_named_by_its_number_and_its_value_is_not_shown(line: str) -> None:
    text = f"# first\np p/a string x \\\ncontinued\n{line}\n"
    with pytest.raises(UsageError) as caught:
        debconf.normalize(text, "FILE")
    assert caught.value.brief.startswith("FILE, line 4: ")
    assert "s3cret" not in f"{caught.value.brief}{caught.value.detail}{caught.value.resolution}"


def test_a_file_that_cannot_be_read_or_is_not_utf_8_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read"):
        debconf.read(tmp_path / "missing")
    (tmp_path / "file").write_bytes(b"p p/q string \xff\n")
    with pytest.raises(UsageError, match="is not UTF-8"):
        debconf.read(tmp_path / "file")


def test_a_digest_stands_for_the_answers_and_none_for_no_answers() -> None:
    assert debconf.digest("") == ""
    assert debconf.digest("p p/q string a\n") != debconf.digest("p p/q string b\n")
