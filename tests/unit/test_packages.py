"""The arithmetic of install and uninstall: expressions, intents, differences, batches."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apt_ostree.changes import Change, difference
from apt_ostree.errors import ResolveError, UsageError
from apt_ostree.inputs import requests
from apt_ostree.inputs.requests import is_file, parse_expression
from apt_ostree.model import CommitInfo, Intent, LocalPackage, Package, Plan, Round, Solved
from apt_ostree.ops import build, download, resolve
from apt_ostree.ops.resolve import Question
from apt_ostree.tools.apt import Action


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("vim", ("vim", None, None, None)),
        ("g++", ("g++", None, None, None)),
        ("0ad", ("0ad", None, None, None)),
        ("libstdc++-13-dev", ("libstdc++-13-dev", None, None, None)),
        ("python3.11", ("python3.11", None, None, None)),
        ("vim:arm64", ("vim", "arm64", None, None)),
        ("vim=2:9.1.0-1+deb13u1~x", ("vim", None, "2:9.1.0-1+deb13u1~x", None)),
        ("vim:kfreebsd-amd64=1-2", ("vim", "kfreebsd-amd64", "1-2", None)),
        ("vim/trixie-backports", ("vim", None, None, "trixie-backports")),
        ("vim:i386/sid", ("vim", "i386", None, "sid")),
    ],
)
def test_parse_expression(text: str, expected: tuple[str | None, ...]) -> None:
    assert parse_expression(text).group("name", "arch", "version", "suite") == expected


@pytest.mark.parametrize(
    "text",
    [
        "", "v", "Vim", "-vim", "--reinstall", "+vim", ".vim", "vim ", "vim jq", "vim\n", "vim=", "vim/", "vim:",
        "vim=1/sid", "vim/sid=1", "vim=1 2", "vim*", "vim?", "^vim", "~nvim", "?name(vim)", "vim^", "ü", "vim=ü",
        "./vim", "/vim.deb", "vim;jq",
        # To apt-get these mean "remove vim" and "whatever matches".
        "vim-", "libjq.",
    ],
)  # fmt: skip
def test_what_is_no_package_expression_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_expression(text)
    assert caught.value.brief == f"'{text}' is not a valid package name"


@pytest.mark.parametrize(
    ("text", "detail", "advice"),
    [
        ("VIM", "package names are lower case", "Did you mean 'vim'?"),
        ("Libc6:i386", "package names are lower case", "Did you mean 'libc6:i386'?"),
        ("git nginx", "a package is NAME, ", "Give each package as a separate argument."),
    ],
)
def test_a_wrong_name_comes_with_advice(text: str, detail: str, advice: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_expression(text)
    assert caught.value.detail.startswith(detail)
    assert caught.value.resolution.endswith(advice)


def test_a_name_that_is_not_utf8_is_shown_escaped() -> None:
    with pytest.raises(UsageError, match=r"'vim\\xff' is not a valid package name"):
        parse_expression("vim\udcff")


@pytest.mark.parametrize(
    ("argument", "file"),
    [("./x.deb", True), ("/a/x.deb", True), ("a/x.deb", True), ("x.deb", False), ("vim/trixie", False), ("./x", False)],
)
def test_a_file_has_a_slash_and_ends_in_deb(argument: str, file: bool) -> None:
    assert is_file(argument) is file


def local(name: str, version: str = "1") -> LocalPackage:
    return LocalPackage("ab" * 32, Package(name, version, "amd64"))


@pytest.mark.parametrize(
    ("before", "names", "after"),
    [
        ([], ["vim", "jq"], ["vim", "jq"]),
        (["vim"], ["vim"], ["vim"]),
        (["vim", "jq"], ["curl"], ["vim", "jq", "curl"]),
        (["vim", "jq"], ["vim=2"], ["jq", "vim=2"]),
        (["vim=1"], ["vim=2"], ["vim=2"]),
        (["vim=1"], ["vim"], ["vim=1"]),
        (["vim/sid"], ["vim"], ["vim/sid"]),
        (["vim=1"], ["vim/sid"], ["vim/sid"]),
        (["vim"], ["vim:i386"], ["vim", "vim:i386"]),
        (["vim:i386=1"], ["vim:i386"], ["vim:i386=1"]),
        (["vim"], ["vim:amd64=2"], ["vim:amd64=2"]),
        (["vim:amd64=2"], ["vim"], ["vim:amd64=2"]),
        (["vim:all"], ["vim/sid"], ["vim/sid"]),
        ([], ["vim", "vim", "vim=1"], ["vim=1"]),
    ],
)
def test_a_new_request_joins_or_replaces_the_old_one(before: list[str], names: list[str], after: list[str]) -> None:
    intent = Intent(tuple(before), (local("agent"),), True)
    assert requests.add(intent, names, [], "amd64") == Intent(tuple(after), (local("agent"),), True)


def test_a_newer_file_of_a_package_replaces_the_older_one() -> None:
    intent = Intent(("vim",), (local("agent", "1"), local("other")))
    assert requests.add(intent, [], [local("agent", "2")], "amd64") == Intent(
        ("vim",), (local("other"), local("agent", "2"))
    )


@pytest.mark.parametrize(
    ("before", "names", "after"),
    [
        (["vim", "jq"], ["vim"], ["jq"]),
        (["vim=1", "jq"], ["vim"], ["jq"]),
        (["vim/sid"], ["vim"], []),
        (["vim=1"], ["vim=1"], []),
        (["vim", "vim:i386"], ["vim"], []),
        (["vim", "vim:i386"], ["vim:i386"], ["vim"]),
        (["vim:i386=1"], ["vim:i386"], []),
        (["vim=1", "vim:i386"], ["vim:amd64"], ["vim:i386"]),
        (["vim", "vim-tiny"], ["vim"], ["vim-tiny"]),
    ],
)
def test_uninstall_drops_what_was_requested(before: list[str], names: list[str], after: list[str]) -> None:
    intent = Intent(tuple(before), (local("agent"),), False)
    assert requests.drop(intent, names, "amd64") == Intent(tuple(after), (local("agent"),), False)


@pytest.mark.parametrize("name", ["agent", "agent:amd64", "agent=1"])
def test_uninstall_drops_a_local_package_by_name(name: str) -> None:
    intent = Intent(("vim",), (local("agent"), local("other")))
    assert requests.drop(intent, [name], "amd64") == Intent(("vim",), (local("other"),))


@pytest.mark.parametrize(
    ("intent", "names", "brief", "detail"),
    [
        (Intent(), ["vim"], "not requested: vim", "requested: none"),
        (Intent(("vi",), (local("agent"),)), ["jq", "vi", "x1"], "not requested: jq, x1", "requested: vi, agent"),
        (Intent(("vim=1",)), ["vim=2"], "not requested: vim=2", "requested: vim=1"),
        (Intent(("vim",)), ["vim:i386"], "not requested: vim:i386", "requested: vim"),
        (Intent((), (local("agent"),)), ["agent:i386"], "not requested: agent:i386", "requested: agent"),
    ],
)  # fmt: skip
def test_uninstall_of_what_nobody_requested_is_an_error(
    intent: Intent, names: list[str], brief: str, detail: str
) -> None:
    with pytest.raises(ResolveError) as caught:
        requests.drop(intent, names, "amd64")
    assert (caught.value.brief, caught.value.detail) == (brief, detail)


A1, A2, A2I, B1, C1 = (
    Package("a", "1", "amd64"),
    Package("a", "2", "amd64"),
    Package("a", "2", "i386"),
    Package("b", "1", "all"),
    Package("c", "1", "all"),
)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ([], [], Change()),
        ([A1, B1], [B1, A1], Change()),
        ([], [C1, B1], Change(added=(B1, C1))),
        ([C1, B1], [], Change(removed=(B1, C1))),
        ([A1], [A2], Change(changed=((A1, A2),))),
        ([A2], [A1], Change(changed=((A2, A1),))),
        ([A2], [A2I], Change(added=(A2I,), removed=(A2,))),
        ([A1, B1], [A2, A2I, C1], Change((A2I, C1), (B1,), ((A1, A2),))),
    ],
)
def test_difference(before: list[Package], after: list[Package], expected: Change) -> None:
    assert difference(before, after) == expected


def solved(name: str, size: int = 1) -> Solved:
    return Solved(Package(name, "1", "all"), name * 8, size, 0, "s")


@given(st.lists(st.integers(1, 10**9), max_size=30))
def test_batches_hold_each_package_once_and_none_is_empty(sizes: list[int]) -> None:
    missing = [solved(f"p{n}", size) for n, size in enumerate(sizes)]
    parts = download._batches(missing, workers=2)
    assert sorted((s for part in parts for s in part), key=lambda s: s.name) == sorted(missing, key=lambda s: s.name)
    assert len(parts) == min(len(missing), 4)
    assert all(parts)


def test_batches_are_about_equal() -> None:
    parts = download._batches([solved(f"p{n}", size) for n, size in enumerate([8, 7, 6, 5, 4, 3, 2, 1])], workers=2)
    assert [sum(s.size for s in part) for part in parts] == [9, 9, 9, 9]


@pytest.mark.parametrize(
    ("action", "lines"),
    [
        (Action("Inst", "jq", "amd64", "1"), []),
        (Action("Conf", "jq", "amd64", "1"), []),
        (Action("Inst", "libc6", "amd64", "2.42", "2.41"), ["libc6 2.41 would become 2.42"]),
        (Action("Remv", "nano", "", "", "8.4"), ["nano 8.4 would be removed"]),
    ],
)
def test_a_layer_only_adds(action: Action, lines: list[str]) -> None:
    nothing = Question((), (), frozenset(), frozenset(), "amd64")
    assert resolve.touches_base([action], nothing) == lines


@pytest.mark.parametrize(
    ("action", "lines"),
    [
        (Action("Inst", "libc6", "amd64", "2.42", "2.41"), []),
        (Action("Remv", "nano", "", "", "8.4"), []),
        (Action("Inst", "nano", "amd64", "8.5", "8.4"), ["nano 8.4 would become 8.5"]),
        (Action("Remv", "libc6", "", "", "2.41"), ["libc6 2.41 would be removed"]),
        (Action("Remv", "nano", "i386", "", "8.4"), ["nano:i386 8.4 would be removed"]),
        (Action("Inst", "libc6", "i386", "2.42", "2.41"), ["libc6:i386 2.41 would become 2.42"]),
    ],
)
def test_an_override_changes_only_what_it_names(action: Action, lines: list[str]) -> None:
    named = Question((), (), frozenset({"nano"}), frozenset({"libc6"}), "amd64")
    assert resolve.touches_base([action], named) == lines


BASE = CommitInfo("b" * 64, None, 0, "", {})


def digest(base: CommitInfo = BASE, intent: Intent = Intent(("vim",)), plan: Plan | None = None) -> str:  # noqa: B008
    return build.inputs_digest(base, intent, plan or Plan((solved("a"), solved("b"))))


def test_the_inputs_digest_is_the_same_for_the_same_inputs() -> None:
    assert digest(intent=Intent(("vim", "jq"))) == digest(intent=Intent(("jq", "vim")))
    assert digest(plan=Plan((solved("a", 5), solved("b")))) == digest()


@pytest.mark.parametrize(
    "other",
    [
        digest(base=CommitInfo("c" * 64, None, 0, "", {})),
        digest(intent=Intent(("jq",))),
        digest(intent=Intent(("vim",), (local("agent"),))),
        digest(intent=Intent(("vim",), recommends=True)),
        digest(plan=Plan((solved("a"),))),
        digest(plan=Plan((solved("a"), Solved(Package("b", "1", "all"), "other", 1, 0, "s")))),
    ],
)
def test_the_inputs_digest_tells_inputs_apart(other: str) -> None:
    assert other != digest()


def test_a_plan_is_a_value() -> None:
    rounds = (Round((A1,), (A1,)),)
    assert Plan((solved("a"),), rounds) == Plan((solved("a"),), rounds)


def test_a_plan_knows_packages_by_name_and_architecture() -> None:
    base = [
        Package("a", "1", "all"),
        Package("b", "1", "amd64"),
        Package("b", "1", "i386"),
        Package("dpkg", "1", "amd64"),
    ]
    new = {
        package: Solved(package, "e" * 64, 1, 1)
        for package in (A2, Package("c", "1", "amd64"), Package("c", "1", "i386"))
    }
    actions = [Action("Remv", "b", "i386", "", "1"), *(Action("Inst", p.name, p.architecture, p.version) for p in new)]
    unused: Any = None
    plan = resolve._plan(unused, actions, new, {}, base, Intent(("c:i386",), remove=("b:i386",)))
    assert (plan.removed, plan.replaced) == ((base[2],), ((base[0], A2),))
    assert plan.automatic == {Package("c", "1", "amd64")}
    assert [str(package) for package in plan.present(base)] == [
        "a 2 [amd64]", "b 1 [amd64]", "c 1 [amd64]", "c 1 [i386]", "dpkg 1 [amd64]",
    ]  # fmt: skip


OLD, NEW = (Solved(Package("greeter", version, "all"), "e" * 64, 1, 1) for version in ("1.0", "2.0"))


def test_a_locked_version_that_is_lost_is_an_error_not_an_upgrade() -> None:
    with pytest.raises(ResolveError) as caught:
        resolve._keep_to_lock([NEW], {OLD.package: OLD}, Intent(("greeter",)), "amd64")
    assert caught.value.brief == "layered packages would change versions"
    assert caught.value.detail.splitlines()[0] == "greeter 1.0 would become 2.0"


@pytest.mark.parametrize(
    ("solved_set", "intent"),
    [
        ([OLD], Intent(("greeter",))),
        ([NEW], Intent(("greeter=2.0",))),
        ([NEW], Intent(("greeter/sid",))),
        ([NEW], Intent(requested_local=(LocalPackage("e" * 64, NEW.package),))),
        ([], Intent()),
    ],
)
def test_a_version_changes_where_somebody_asked_for_it(solved_set: list[Solved], intent: Intent) -> None:
    resolve._keep_to_lock(solved_set, {OLD.package: OLD}, intent, "amd64")


@pytest.mark.parametrize(
    "intent",
    [
        Intent(replace=("greeter=2.0",)),
        Intent(replace=("greeter/sid",)),
        Intent(replace_local=(LocalPackage("e" * 64, NEW.package),)),
    ],
)
def test_a_version_changes_where_an_override_asked_for_it(intent: Intent) -> None:
    resolve._keep_to_lock([NEW], {OLD.package: OLD}, intent, "amd64")


@pytest.mark.parametrize("intent", [Intent(("greeter", "other=2.0")), Intent(("greeter:i386=2.0",)), Intent()])
def test_a_request_for_another_package_frees_no_version(intent: Intent) -> None:
    with pytest.raises(ResolveError):
        resolve._keep_to_lock([NEW], {OLD.package: OLD}, intent, "amd64")


def test_each_architecture_of_a_layered_package_keeps_its_own_version() -> None:
    locked = {Package("lib", "1", "amd64"): solved("lib"), Package("lib", "2", "i386"): solved("lib")}
    same = [Solved(package, "e" * 64, 1, 1) for package in locked]
    resolve._keep_to_lock(same, locked, Intent(), "amd64")
    other = [Solved(Package("lib", "2", "amd64"), "e" * 64, 1, 1), Solved(Package("lib", "1", "i386"), "e" * 64, 1, 1)]
    with pytest.raises(ResolveError) as caught:
        resolve._keep_to_lock(other, locked, Intent(), "amd64")
    assert caught.value.detail.splitlines()[:2] == ["lib 1 would become 2", "lib:i386 2 would become 1"]


def test_a_package_that_was_not_layered_may_have_any_version() -> None:
    resolve._keep_to_lock([NEW, solved("other")], {}, Intent(), "amd64")


def test_every_change_of_the_base_is_named_in_apts_order() -> None:
    actions = [
        Action("Remv", "nano", "", "", "8.4"),
        Action("Inst", "jq", "amd64", "1"),
        Action("Inst", "libc6", "amd64", "2.42", "2.41"),
        Action("Conf", "libc6", "amd64", "2.42", "2.41"),
    ]
    assert resolve.touches_base(actions, Question((), (), frozenset(), frozenset(), "amd64")) == [
        "nano 8.4 would be removed",
        "libc6 2.41 would become 2.42",
    ]


def test_leave_to_remove_a_package_is_none_to_replace_it_and_the_other_way_round() -> None:
    removable = Question((), (), frozenset({"nano"}), frozenset({"libc6"}), "amd64")
    actions = [Action("Inst", "nano", "amd64", "9", "8"), Action("Remv", "libc6", "", "", "2.41")]
    assert len(resolve.touches_base(actions, removable)) == 2
