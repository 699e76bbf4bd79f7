"""Kernel arguments: rpm-ostree's options as it applies them, from its own test and libostree's."""

from __future__ import annotations

import pytest

from apt_ostree.errors import UsageError
from apt_ostree.inputs import kargs
from apt_ostree.inputs.kargs import Edit


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("", []),
        ("root=LABEL=root  rw ", ["root=LABEL=root", "rw"]),
        ('a="b c" d', ['a="b c"', "d"]),
        ('"a b=c" d', ['"a b=c"', "d"]),
        ('a="b c', ['a="b c']),
        ("console=tty0 console=ttyS0 quiet quiet", ["console=tty0", "console=ttyS0", "quiet", "quiet"]),
    ],
)
def test_a_line_is_split_at_blanks_outside_of_quotes(line: str, words: list[str]) -> None:
    assert kargs.split(line) == words


def test_what_a_boot_loader_and_libostree_add_is_left_out() -> None:
    line = "BOOT_IMAGE=(hd0,gpt2)/ostree/x/vmlinuz root=/dev/vda2 rw initrd=\\x ostree=/ostree/boot.0/debian/x/0"
    assert kargs.own(line) == ["root=/dev/vda2", "rw"]


LINE = "root=UUID=1 rw two=1 two=2 flag empty= dup dup"

EDITS = [
    # append: always, also what is there
    (Edit(append=("a=b",)), LINE + " a=b"),
    (Edit(append=("flag", "two=1")), LINE + " flag two=1"),
    (Edit(append=("a=b c=d",)), LINE + " a=b c=d"),
    (Edit(append=('a="b c"',)), LINE + ' a="b c"'),
    (Edit(append=("root=PARTUUID=x=y",)), LINE + " root=PARTUUID=x=y"),
    # append-if-missing: the exact argument, not the key
    (Edit(append_if_missing=("rw",)), LINE),
    (Edit(append_if_missing=("two=1", "two=3")), LINE + " two=3"),
    (Edit(append_if_missing=("flag=1",)), LINE + " flag=1"),
    (Edit(append_if_missing=("n", "n")), LINE + " n"),
    (Edit(append=("n",), append_if_missing=("n",)), LINE + " n"),
    # delete: a key with one value, or one exact argument of several
    (Edit(delete=("root",)), LINE.replace("root=UUID=1 ", "")),
    (Edit(delete=("root=UUID=1",)), LINE.replace("root=UUID=1 ", "")),
    (Edit(delete=("two=2",)), LINE.replace("two=2 ", "")),
    (Edit(delete=("two=1", "two=2")), LINE.replace("two=1 two=2 ", "")),
    (Edit(delete=("empty",)), LINE.replace("empty= ", "")),
    (Edit(delete=("empty=",)), LINE.replace("empty= ", "")),
    (Edit(delete=("dup",)), LINE.removesuffix(" dup")),
    # delete-if-present: the exact argument, as the line was before
    (Edit(delete_if_present=("flag", "absent")), LINE.replace("flag ", "")),
    (Edit(delete_if_present=("two",)), LINE),
    (Edit(delete_if_present=("root",)), LINE),
    (Edit(append=("new",), delete_if_present=("new",)), LINE + " new"),
    # replace
    (Edit(replace=("empty=1",)), LINE.replace("empty=", "empty=1")),
    (Edit(replace=("rw=1",)), LINE.replace("rw", "rw=1")),
    (Edit(replace=("flag=",)), LINE.replace("flag", "flag=")),
    (Edit(replace=("empty",)), LINE.replace("empty=", "empty")),
    (Edit(replace=("two=2=3",)), LINE.replace("two=2", "two=3")),
    (Edit(replace=("two=1=",)), LINE.replace("two=1", "two=")),
    # in this order, whatever the command line's: delete, replace, append, append-if-missing, delete-if-present
    (Edit(append=("rw",), delete=("rw",)), LINE.replace("rw ", "") + " rw"),
    (Edit(replace=("two=2=3",), delete=("two=1",)), LINE.replace("two=1 two=2", "two=3")),
    (Edit(append=("flag=2",), replace=("flag=1",)), LINE.replace("flag", "flag=1") + " flag=2"),
]


@pytest.mark.parametrize(("edit", "line"), EDITS)
def test_edits(edit: Edit, line: str) -> None:
    assert kargs.apply(kargs.split(LINE), edit) == kargs.split(line)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (Edit(delete=("absent",)), "No key 'absent' found"),
        (Edit(delete=("root=x",)), "No karg 'root=x' found"),
        (Edit(delete=("two",)), "Multiple values for key 'two' found"),
        (Edit(delete=("two=9",)), "No karg 'two=9' found"),
        (Edit(delete=("flag=",)), "No karg 'flag=' found"),
        (Edit(delete=("rw", "rw")), "No key 'rw' found"),
        (Edit(delete=("flag",), delete_if_present=("flag",)), "No key 'flag' found"),
        (Edit(replace=("absent=1",)), "No key 'absent' found"),
        (Edit(replace=("two=3",)), "Multiple values for key 'two' found"),
        (Edit(replace=("two=9=1",)), "No karg 'two=9' found"),
        # What stands before the second '=' is the old value, as in rpm-ostree.
        (Edit(replace=("root=LABEL=x",)), "No karg 'root=LABEL' found"),
    ],
)
def test_what_is_not_there_or_ambiguous_is_named_in_rpm_ostrees_words(edit: Edit, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        kargs.apply(kargs.split(LINE), edit)
    assert caught.value.brief == message


@pytest.mark.parametrize("kind", ["append", "append_if_missing", "delete", "delete_if_present", "replace"])
@pytest.mark.parametrize(
    "argument",
    [
        "",
        " ",
        "a\nlinux /evil",
        "a\tb",
        "a\x00",
        'a="b',
        "=x",
        "ostree=/ostree/boot.0/x",
        "ostree",
        "a ostree=x",
        "\udcff",
    ],
)
def test_hostile_arguments_are_refused(kind: str, argument: str) -> None:
    with pytest.raises(UsageError):
        kargs.apply(kargs.split(LINE), Edit(**{kind: (argument,)}))


def test_an_edited_text_gives_its_arguments() -> None:
    assert kargs.edited(kargs.NOTE + '\n  a=b c\n# no\n\nd="e f"\n') == ["a=b", "c", 'd="e f"']


@pytest.mark.parametrize(
    ("text", "message"),
    [("# a\n\n", "The kernel arguments can not be empty"), ("a ostree=x", "the kernel argument 'ostree'")],
)
def test_an_edited_text_that_boots_nothing_is_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        kargs.edited(text)


@pytest.mark.parametrize("kind", ["append", "append_if_missing", "delete", "delete_if_present", "replace"])
def test_an_edit_of_any_kind_is_not_empty(kind: str) -> None:
    assert Edit().empty
    assert not Edit(**{kind: ("a",)}).empty


def test_an_error_shows_the_values_that_there_are() -> None:
    with pytest.raises(UsageError) as caught:
        kargs.apply(kargs.split(LINE), Edit(delete=("two",)))
    assert "two=1 two=2" in caught.value.detail
