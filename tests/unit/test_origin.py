"""Origin files: read, changed and written again, with all that others wrote into them."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apt_ostree.errors import SysrootError
from apt_ostree.model import Intent, LocalPackage, Package
from apt_ostree.system import origin

LOCAL = LocalPackage("ab" * 32, Package("agent", "1:2.0-1", "amd64"))
LOCAL_TEXT = f"{'ab' * 32}:agent_1:2.0-1_amd64"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        ("[origin]\nrefspec=debian:debian/13\n", {"origin": {"refspec": "debian:debian/13"}}),
        ("[origin]\nrefspec = a:b \n\n# c\n[x]\n", {"origin": {"refspec": "a:b"}, "x": {}}),
        ("[a]\nKey=1\nkey=2\nk[de]=3\n", {"a": {"Key": "1", "key": "2", "k[de]": "3"}}),
        ("[a]\nk=x=y;z:w#v %s;\n", {"a": {"k": "x=y;z:w#v %s;"}}),
        ("[a]\nk=1\n[b]\n[a]\nk=2\n", {"a": {"k": "2"}, "b": {}}),
        ("[a]\nk=\n", {"a": {"k": ""}}),
    ],
)
def test_parse(text: str, expected: dict[str, dict[str, str]]) -> None:
    assert origin.parse(text) == expected


@pytest.mark.parametrize("text", ["garbage", "refspec=a:b\n", "[origin\nrefspec=a\n", "[origin]\nno value\n", "\0\1\2"])
def test_garbage_is_an_error_that_names_the_file(text: str) -> None:
    with pytest.raises(SysrootError, match=r"cannot read /ostree/x\.origin"):
        origin.parse(text, "/ostree/x.origin")


def test_render_leaves_out_groups_without_keys() -> None:
    assert origin.render({"origin": {"refspec": "a:b"}, "none": {}, "x": {"Y": "1", "z": ""}}) == (
        "[origin]\nrefspec=a:b\n\n[x]\nY=1\nz=\n\n"
    )


WORD = st.text("abcXYZ-_0189", min_size=1)
VALUE = st.text(st.characters(min_codepoint=33, max_codepoint=0x2FF, exclude_categories=["C", "Z"]))
GROUPS = st.dictionaries(WORD, st.dictionaries(WORD, VALUE, min_size=1))


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(GROUPS)
def test_parse_reads_what_render_wrote(groups: dict[str, dict[str, str]]) -> None:
    assert origin.parse(origin.render(groups)) == groups


@pytest.mark.parametrize(
    ("value", "items"), [("", []), (";", []), ("a", ["a"]), ("a;", ["a"]), ("a;b=1:2;", ["a", "b=1:2"])]
)
def test_split(value: str, items: list[str]) -> None:
    assert origin.split(value) == items


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("[origin]\nrefspec=a:b\n", "a:b"),
        ("[origin]\nbaserefspec=a:b\n", "a:b"),
        ("[origin]\nrefspec=old:x\nbaserefspec=a:b\n", "a:b"),
        ("[origin]\nbaserefspec=\nrefspec=a:b\n", "a:b"),
        ("[other]\nrefspec=a:b\n", ""),
    ],
)
def test_refspec_is_the_bases_however_it_is_recorded(text: str, expected: str) -> None:
    assert origin.refspec(origin.parse(text)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", Intent()),
        ("[packages]\n", Intent()),
        ("[packages]\nrequested=vim;g++:amd64=1:2~3;jq/trixie;\n", Intent(("vim", "g++:amd64=1:2~3", "jq/trixie"))),
        (f"[packages]\nrequested-local={LOCAL_TEXT};\n", Intent(requested_local=(LOCAL,))),
        ("[packages]\nrequested=vim;\nrecommends=true\n", Intent(("vim",), recommends=True)),
        ("[packages]\nrequested=vim;\nrecommends=false\n", Intent(("vim",), recommends=False)),
        ("[packages]\nrequested=vim;\nrecommends=perhaps\n", Intent(("vim",))),
    ],
)
def test_intent(text: str, expected: Intent) -> None:
    assert origin.intent(origin.parse(text)) == expected


@pytest.mark.parametrize("value", ["agent", "ab:agent", "ab:agent_1", "ab:a_1_amd64_x", f"{LOCAL_TEXT};ab:x;"])
def test_a_local_package_of_another_form_is_an_error_that_shows_it(value: str) -> None:
    with pytest.raises(SysrootError, match="cannot read a local package in the origin") as caught:
        origin.intent({"packages": {"requested-local": value}})
    assert caught.value.detail == value


@pytest.mark.parametrize(
    ("text", "is_base"),
    [
        ("[origin]\nrefspec=a:b\n", True),
        ("[origin]\nrefspec=a:b\noverride-commit=x\n[packages]\nrequested=vim;\n", True),
        ("[origin]\nbaserefspec=a:b\n[packages]\nrequested=vim;\n", False),
        ("[origin]\nbaserefspec=a:b\nrefspec=a:b\n", False),
        ("[origin]\nbaserefspec=\nrefspec=a:b\n", True),
        ("[origin]\nrefspec=\n", False),
        ("", False),
    ],
)
def test_the_origin_says_that_the_commit_is_a_base(text: str, is_base: bool) -> None:
    assert origin.names_base(origin.parse(text)) is is_base


BASE = origin.parse("[origin]\nrefspec=debian:debian/13\nunconfigured-state=x\n")


def test_what_a_layer_was_made_from_stands_in_its_origin_alone() -> None:
    layered = origin.with_intent(BASE, Intent(("vim",)), "digest")
    assert layered["apt-ostree"] == {"inputs": "digest"}
    assert origin.inputs(layered) == "digest"
    # No other layer inherits it, and neither does a base.
    assert origin.inputs(origin.with_intent(layered, Intent(("vim",)))) == ""
    assert origin.inputs(origin.with_intent(layered, Intent(), "digest")) == ""
    assert origin.inputs(BASE) == ""


@pytest.mark.parametrize(
    ("new", "text"),
    [
        (
            Intent(("vim", "jq=1:2"), (LOCAL,), True),
            "[origin]\nbaserefspec=debian:debian/13\nunconfigured-state=x\n\n"
            f"[packages]\nrequested=vim;jq=1:2;\nrequested-local={LOCAL_TEXT};\nrecommends=true\n\n",
        ),
        (
            Intent((), (LOCAL,), False),
            "[origin]\nbaserefspec=debian:debian/13\nunconfigured-state=x\n\n"
            f"[packages]\nrequested-local={LOCAL_TEXT};\nrecommends=false\n\n",
        ),
        (Intent(), "[origin]\nrefspec=debian:debian/13\nunconfigured-state=x\n\n"),
        (Intent(recommends=True), "[origin]\nrefspec=debian:debian/13\nunconfigured-state=x\n\n"),
    ],
)
def test_with_intent_writes_the_file_of_the_next_deployment(new: Intent, text: str) -> None:
    assert origin.render(origin.with_intent(BASE, new)) == text


def test_with_intent_of_nothing_undoes_a_layer() -> None:
    layered = origin.with_intent(BASE, Intent(("vim",), (LOCAL,), True))
    assert origin.render(origin.with_intent(layered, Intent())) == origin.render(BASE)


def test_with_intent_keeps_what_it_does_not_know() -> None:
    other = {"rpmostree": {"x": "1"}, "packages": {"later-key": "2"}, "overrides": {"other": "nano;"}}
    changed = origin.with_intent({**BASE, **other}, Intent(("vim",)))
    assert changed["rpmostree"] == {"x": "1"}
    assert changed["overrides"] == {"other": "nano;"}
    assert changed["packages"] == {"later-key": "2", "requested": "vim;"}


def test_with_intent_drops_libostrees_notes_of_the_old_deployment() -> None:
    assert "libostree-transient" not in origin.with_intent(
        {**BASE, "libostree-transient": {"pinned": "true"}}, Intent(("vim",))
    )


def test_what_made_usr_writable_ends_with_the_old_deployment() -> None:
    """The new one has its own /usr, which nobody wrote to."""
    after = origin.with_intent(origin.parse("[origin]\nrefspec=d:x\nunlocked=hotfix\nmore=1\n"), Intent(("vim",)))
    assert after["origin"] == {"baserefspec": "d:x", "more": "1"}


def test_overrides_and_settings_of_the_initramfs_are_written_and_taken_back() -> None:
    new = Intent(
        remove=("nano",), replace=("vim=2",), replace_local=(LOCAL,), debconf="ab", initramfs=True,
        initramfs_args=("--add", "x"), initramfs_etc=("/etc/a",),
    )  # fmt: skip
    after = origin.with_intent(BASE, new)
    assert after["overrides"] == {"remove": "nano;", "replace": "vim=2;", "replace-local": f"{LOCAL_TEXT};"}
    assert after["apt-ostree"] == {
        "regenerate-initramfs": "true",
        "initramfs-args": "--add;x;",
        "initramfs-etc": "/etc/a;",
    }
    assert after["packages"] == {"debconf": "ab"}
    assert origin.intent(after) == new
    assert origin.render(origin.with_intent(after, Intent())) == origin.render(BASE)


def test_answers_for_debconf_go_with_the_packages_that_asked() -> None:
    assert "debconf" not in origin.with_intent(BASE, Intent(debconf="ab"))["packages"]


PINS = [
    (True, False, (True, False)),
    (True, True, (True, True)),
    (False, False, (False, False)),
    # Nothing is kept without a pin.
    (False, True, (False, False)),
]


@pytest.mark.parametrize(("pin", "for_retention", "expected"), PINS)
@pytest.mark.parametrize("before", ["", "[libostree-transient]\npinned=true\n[apt-ostree]\nretained=true\n"])
def test_whose_pin_it_is_stands_beside_it(
    before: str, pin: bool, for_retention: bool, expected: tuple[bool, bool]
) -> None:
    after = origin.with_pin(origin.parse(before), pin, for_retention=for_retention)
    assert (origin.has_pin(after), origin.retained(after)) == expected
    assert origin.parse(origin.render(after)) == {group: keys for group, keys in after.items() if keys}


def test_a_note_about_retention_without_a_pin_says_nothing() -> None:
    assert not origin.retained(origin.parse("[apt-ostree]\nretained=true\n"))


def test_with_intent_does_not_change_its_argument() -> None:
    before = origin.parse("[origin]\nrefspec=a:b\n[libostree-transient]\npinned=true\n[packages]\nrequested=x;\n")
    copied = {group: dict(entries) for group, entries in before.items()}
    origin.with_intent(before, Intent(("vim",)))
    assert before == copied


NAMES = st.from_regex(r"[a-z0-9][a-z0-9+.-]{1,8}(:[a-z0-9]{2,5})?(=([0-9]:)?[0-9][A-Za-z0-9.+~-]*)?", fullmatch=True)
LOCALS = st.builds(
    LocalPackage,
    st.from_regex(r"[0-9a-f]{64}", fullmatch=True),
    st.builds(
        Package,
        st.from_regex(r"[a-z0-9][a-z0-9+.-]+", fullmatch=True),
        st.from_regex(r"([0-9]:)?[0-9][A-Za-z0-9.+~-]*", fullmatch=True),
        st.sampled_from(["all", "amd64", "arm64", "kfreebsd-amd64"]),
    ),
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.builds(
        Intent,
        st.lists(NAMES, max_size=5).map(tuple),
        st.lists(LOCALS, max_size=3).map(tuple),
        st.sampled_from([None, True, False]),
    )
)
def test_an_intent_survives_the_file(intent: Intent) -> None:
    text = origin.render(origin.with_intent(BASE, intent))
    # What nothing is layered for needs no setting.
    assert origin.intent(origin.parse(text)) == (Intent() if intent.empty else intent)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("[a]\nx=1\n y=2\n", {"a": {"x": "1", "y": "2"}}),
        ("[a]\nx=1\n\t[b]\ny=2\n", {"a": {"x": "1"}, "b": {"y": "2"}}),
        ("[a]\nx=1\n\n # y=2\n", {"a": {"x": "1"}}),
        ("[a]\nx=1\n\u2003x=2\n\x85x=3\n", {"a": {"x": "1", "\u2003x": "2", "\x85x": "3"}}),
        ("[a]\nx = \xa01\xa0 \n[b]\n\f[a]\rx=2\n", {"a": {"x": "\xa01\xa0"}, "b": {"[a]\rx": "2"}}),
        ("[DEFAULT]\nx=1\n[a]\ny=2\n", {"DEFAULT": {"x": "1"}, "a": {"y": "2"}}),
    ],
)
def test_a_key_file_is_read_as_ostree_reads_it(text: str, found: dict[str, dict[str, str]]) -> None:
    """Else what is written again is another file: a continued line would become a key, or a group."""
    assert origin.parse(text) == found
    assert origin.parse(origin.render(origin.parse(text))) == found


@pytest.mark.parametrize(("text", "line"), [("root:SECRET\n", 1), ("[a]\nb=c\nSECRET\n", 3)])
def test_an_error_has_nothing_of_the_file(text: str, line: int) -> None:
    """It may be any, where a link leads to it."""
    with pytest.raises(SysrootError) as caught:
        origin.parse(text)
    assert "SECRET" not in caught.value.detail
    assert f"line {line} is" in caught.value.detail


def test_following_another_ref_drops_why_it_could_not_be_upgraded() -> None:
    before = {"origin": {"refspec": "a:b", "unconfigured-state": "Register this machine first."}}
    assert origin.unconfigured(before) == "Register this machine first."
    assert origin.unconfigured(origin.with_base(before, "a:b", "")) == "Register this machine first."
    assert origin.unconfigured(origin.with_base(before, "a:c", "")) == ""
