"""Which files of /etc are the machine's own, told from what is made, deployed, and made differently a second time."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from apt_ostree.errors import TreeError
from apt_ostree.host.door import Tree, at_and_above
from apt_ostree.layering import again, identity
from apt_ostree.layering.identity import Different, Identity, Made
from apt_ostree.sandbox.bwrap import Sandbox
from apt_ostree.tree import state, users


def fill(top: Path, **files: str) -> Path:
    """A tree with files in /usr/etc: ``a__b`` stands for a/b."""
    for name, text in files.items():
        place = top / "usr/etc" / name.replace("__", "/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    return top


def deploy(top: Path, **makers: str) -> Path:
    """A deployment whose list names these as the machine's own; a name that ends in "___" is one of a directory."""
    place = top / state.IDENTITY / "layer"
    place.parent.mkdir(parents=True)
    names = {name.replace("___", "/").replace("__", "/"): package for name, package in makers.items()}
    place.write_text("".join(f"{package} {name}\n" for name, package in names.items()))
    return top


class Again:
    """A second run whose outcome is given; it notes what it was asked."""

    def __init__(self, *content: str, name: Sequence[str] = (), makers: Mapping[str, str] | None = None) -> None:
        made = dict.fromkeys((*content, *name), "own:all") if makers is None else makers
        self.different = Different(frozenset(content), frozenset(name), made)
        self.asked = list[list[str]]()

    def __call__(self, names: Sequence[str]) -> Different:
        self.asked.append(list(names))
        return self.different


def recognise(base: Path, layers: Sequence[Path], deployed: Sequence[Path], run: Again) -> Identity:
    """``deployed`` is what boots next, and at last what runs."""
    first, booted = (deployed[0], deployed[-1]) if deployed else (None, None)
    return identity.recognise(identity.made(base, layers), layers, first, booted, ["own:all", "other:all"], run)


def copied(root: Path, *files: str) -> again.Copy:
    """A tree as a sandbox has it, whose /var is beside /usr; of what scripts made there are these files."""
    (root / "var").mkdir(exist_ok=True)
    return again.Copy(Sandbox(root, var=root / "var"), Made(root / "nothing", frozenset(), files))


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return fill(tmp_path / "base", there="1", dir__x="1")


def test_what_scripts_made_is_what_neither_base_nor_package_has(base: Path, tmp_path: Path) -> None:
    layer = fill(
        tmp_path / "layer", there="2", listed="1", made="1", dir__made="1", shadow="x", passwd__x="1",
        **{"ssh__ssh_host_rsa_key": "1", "ssl__certs__ca-certificates.crt": "1", "ssl__certs__imapd.pem": "1"},
    )  # fmt: skip
    (layer / "usr/etc/link").symlink_to("made")
    info = layer / "usr/lib/sysimage/dpkg/info"
    info.mkdir(parents=True)
    (info / "a.list").write_text("/.\n/etc\n/etc/listed\n")
    assert identity.made(base, [layer]).files == ("dir/made", "made", "passwd/x", "ssl/certs/imapd.pem")


def test_what_a_later_layer_takes_away_was_not_made(base: Path, tmp_path: Path) -> None:
    low, high = fill(tmp_path / "low", conf="1", store__a="1", kept="1"), tmp_path / "high"
    (low / "usr/etc/conf").rename(low / "usr/etc/conf.dpkg-new")
    fill(high, conf="1")
    for name in ("conf.dpkg-new", "store"):
        os.mknod(high / "usr/etc" / name, stat.S_IFCHR, os.makedev(0, 0))
    assert identity.made(base, [low, high]).files == ("conf", "kept")


def test_names_that_are_gone_cost_one_look_each(base: Path, tmp_path: Path) -> None:
    low, high = tmp_path / "low", tmp_path / "high"
    fill(low, **{f"a{number}__x": "1" for number in range(2000)})
    (high / "usr/etc").mkdir(parents=True)
    for number in range(2000):
        os.mknod(high / f"usr/etc/a{number}", stat.S_IFCHR, os.makedev(0, 0))
    looked: Counter[str] = Counter()
    real = at_and_above

    def counted(name: str) -> Iterator[str]:
        looked[name] += 1
        return real(name)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(identity, "at_and_above", counted)
        assert identity.made(base, [low, high]).files == ()
    assert looked.total() == 2000


def test_a_directory_that_scripts_made_belongs_together(base: Path) -> None:
    made = Made(base, frozenset({"etc/listed"}), ("dir/a", "listed/b", "new/deep/c", "new/d", "news"))
    assert made.tops() == ["dir/a", "listed/b", "new", "news"]


def test_what_comes_out_different_is_the_machines_own(base: Path, tmp_path: Path) -> None:
    layer, run = (
        fill(tmp_path / "layer", key="1", same="1", store__a="1"),
        Again("key", "store/a", makers={"key": "own:all", "store": "other:all"}),
    )
    found = recognise(base, [layer], [], run)
    assert run.asked == [["key", "same", "store/a"]]
    assert found == Identity({"key": "own:all", "store": "other:all"}, frozenset({"key", "store"}))
    identity.take_out(found, [layer])
    assert os.listdir(layer / "usr/etc") == ["same"]
    (tmp_path / "top").mkdir()
    identity.write(found, tmp_path / "top", "layer")
    assert (tmp_path / "top" / state.IDENTITY / "layer").read_text() == "own:all key\nother:all store\n"


def test_what_no_packages_script_made_again_stays(base: Path, tmp_path: Path) -> None:
    layer = fill(tmp_path / "layer", key="1")
    assert recognise(base, [layer], [], Again("key", makers={})) == Identity()


def test_nothing_is_asked_again_that_a_deployment_tells(base: Path, tmp_path: Path) -> None:
    layer, run = fill(tmp_path / "layer", key="2", same="1", store__a="2", keys__c0ffee="", dir__name="2"), Again()
    here = fill(deploy(tmp_path / "here"), same="1")
    booted = deploy(tmp_path / "booted", key="own:all", keys___="own:all", store="own:all", dir__name="own:all")
    found = recognise(base, [layer], [here, booted], run)
    assert run.asked == []
    assert found.makers == dict.fromkeys(["dir/name", "key", "keys/", "store"], "own:all")
    assert found.left_out == {"dir/name", "key", "keys/c0ffee", "store"}


def test_what_never_booted_tells_nothing(base: Path, tmp_path: Path) -> None:
    """A package that came and went could say of another's file that it is the machine's own: no layer would have it."""
    layer, run = fill(tmp_path / "layer", default__victim="constant"), Again()
    pending, booted = deploy(tmp_path / "pending", default___="own:all"), deploy(tmp_path / "booted")
    assert recognise(base, [layer], [pending, booted], run) == Identity()
    assert run.asked == [["default/victim"]]
    assert identity.recognise(identity.made(base, [layer]), [layer], pending, None, ["own:all"], run) == Identity()


def test_what_a_package_made_that_is_not_there_any_longer_tells_nothing(base: Path, tmp_path: Path) -> None:
    layer, run = fill(tmp_path / "layer", victim__key="2", victim__rendered="2"), Again()
    here = deploy(tmp_path / "here", victim="evil:all")
    assert recognise(base, [layer], [here], run) == Identity()
    assert run.asked == [["victim/key", "victim/rendered"]]


def test_of_a_directory_that_a_package_has_by_now_only_what_scripts_made_is_taken(base: Path, tmp_path: Path) -> None:
    layer = fill(tmp_path / "layer", victim__conf="shipped", victim__key="2")
    info = layer / "usr/lib/sysimage/dpkg/info"
    info.mkdir(parents=True)
    (info / "own.list").write_text("/.\n/etc\n/etc/victim\n/etc/victim/conf\n")
    here = deploy(tmp_path / "here", victim="own:all")
    found = recognise(base, [layer], [here], Again())
    assert found == Identity({"victim/key": "own:all"}, frozenset({"victim/key"}))


def test_a_file_that_changed_since_it_was_deployed_is_tried(base: Path, tmp_path: Path) -> None:
    low, high, run = fill(tmp_path / "low", rendered="1"), fill(tmp_path / "high", rendered="2"), Again()
    here = fill(tmp_path / "here", rendered="1")
    assert recognise(base, [low, high], [here], run) == Identity()
    assert run.asked == [["rendered"]]


def test_of_a_random_name_the_directory_is_on_the_list(base: Path, tmp_path: Path) -> None:
    layer = fill(tmp_path / "layer", dir__c0ffee="", leftover="")
    found = recognise(base, [layer], [], Again(name=["dir/c0ffee", "leftover"]))
    assert found == Identity({"dir/": "own:all"}, frozenset({"dir/c0ffee"}))


def test_a_list_that_names_other_places_is_not_followed(base: Path, tmp_path: Path) -> None:
    here = deploy(tmp_path / "here", key="own:all")
    (here / state.IDENTITY / "bad").write_text("own:all ../../secret\nown:all /etc/shadow\nown:all\n\nown:all .\n")
    layer = fill(tmp_path / "layer", key="2")
    found = recognise(base, [layer], [here], Again())
    assert found.makers == {"key": "own:all"}


def test_a_list_has_a_name_that_no_layer_of_the_base_has(base: Path, tmp_path: Path) -> None:
    deploy(base, old="own:all")
    assert state.free_name(base) == "layer1"


def test_who_made_what_is_read_from_notes_that_a_script_may_have_written(tmp_path: Path) -> None:
    (tmp_path / again._NOTES).write_text("0 own:all\n1 evil:all\n7 own:all\n-1 own:all\nx\n0 own:all\n")
    assert again._makers(Tree(tmp_path), ["a", "b"], ["own:all"]) == {"a": "own:all"}


def test_who_made_a_file_counts_before_who_made_another_beside_it(tmp_path: Path) -> None:
    (tmp_path / again._NOTES).write_text("0 first:all beside\n1 first:all beside\n0 second:all\n")
    found = again._makers(Tree(tmp_path), ["a", "b"], ["first:all", "second:all"])
    assert found == {"a": "second:all", "b": "first:all"}


def test_what_is_too_large_for_a_key_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(again, "FILE_BYTES", 3)
    copy = copied(fill(tmp_path, key="123", large="1234"))
    digests = copy.digests(("key", "large", "gone"))
    assert digests["key"] is not None
    assert digests["large"] is None
    assert "gone" not in digests
    monkeypatch.setattr(again, "FILES_BYTES", 2)
    with pytest.raises(TreeError, match="more than 2 bytes in /etc and /var"):
        copy.digests(("key", "large", "gone"))


def test_of_var_only_what_is_asked_about_is_looked_at(tmp_path: Path) -> None:
    for name in ("lib/app/key", "lib/app/deep/more", "lib/other/state", "one"):
        (tmp_path / "var" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "var" / name).write_text("1")
    made = Made(tmp_path / "nothing", frozenset({"var/lib"}), ("/var/lib/app/key", "/var/one"))
    assert made.tops() == ["/var/lib/app", "/var/one"]
    copy = again.Copy(Sandbox(fill(tmp_path, conf="1"), var=tmp_path / "var"), made)
    assert sorted(copy.files()) == ["/var/lib/app/deep/more", "/var/lib/app/key", "/var/one", "conf"]


def test_a_boot_does_not_take_over_what_is_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = copied(fill(tmp_path, few__a="12", few__b="12", many__a="", many__b="", many__c="", large__a="12345"))
    monkeypatch.setattr(again, "TOP_ENTRIES", 3)
    monkeypatch.setattr(again, "TOP_BYTES", 4)
    names = ("few", "few/a", "many", "large")
    assert [again.is_small(*copy.at(name)) for name in names] == [True, True, False, False]


def test_an_image_loses_a_template_with_all_that_brings_it_back(tmp_path: Path) -> None:
    root = fill(tmp_path, key="1")
    for name in ("lib/app/key", "lib/app/sub/x", "lib/apps/state"):
        (root / state.FACTORY / name).parent.mkdir(parents=True, exist_ok=True)
        (root / state.FACTORY / name).write_text("1")
    lists, rules = root / state.SEEDS / "base", root / state.TMPFILES / "00-apt-ostree-base.conf"
    for place, text in (
        (lists, "lib\nlib/app\nlib/app/key\nlib/app/sub\nlib/app/sub/x\nlib/apps\nlib/apps/state\n"),
        (rules, "d /var/lib/app/sub :0755 :0 :0\nd /var/lib/apps :0755 :0 :0\n"),
    ):
        place.parent.mkdir(parents=True)
        place.write_text(text)
    own = Identity({"/var/lib/app": "own:all"}, frozenset({"/var/lib/app"}))
    identity.take_out(own, [root])
    identity.write(own, root, "base")
    assert (root / state.IDENTITY / "base").read_text() == "own:all /var/lib/app\n"
    assert lists.read_text() == "lib\nlib/apps\nlib/apps/state\n"
    assert rules.read_text() == "d /var/lib/apps :0755 :0 :0\n"
    assert not (root / state.FACTORY / "lib/app").exists()
    assert (root / state.FACTORY / "lib/apps/state").exists()
    # No later layer takes it for its own file in /etc.
    assert recognise(tmp_path / "none", [fill(tmp_path / "layer", var__lib__app="1")], [root], Again()) == Identity()


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        ({"key": "1", "same": "1"}, Different(frozenset({"key"}))),
        ({"key": "0", "same": "1"}, Different()),
        ({"same": "1"}, Different()),
        ({"key2": "0", "same": "1"}, Different(name=frozenset({"key"}))),
        ({"dir__other": "0", "same": "1"}, Different()),
    ],
)
def test_content_and_names_of_two_runs_are_compared(tmp_path: Path, after: dict[str, str], expected: Different) -> None:
    digests = copied(fill(tmp_path / "first", key="0", same="1")).digests(("key", "same"))
    other = copied(fill(tmp_path / "after", **after))
    assert again.compare(digests, other.digests(list(other.files()))) == expected


def test_the_list_has_mode_and_owner_by_name_as_scripts_left_them(base: Path, tmp_path: Path) -> None:
    layer = fill(tmp_path / "layer", key="1", store__a="1", keys__c0ffee="")
    (layer / "usr/etc/link").symlink_to("key")
    (layer / "usr/etc/key").chmod(0o640)
    (layer / "usr/etc/store").chmod(0o2750)
    own = Identity(dict.fromkeys(["key", "store", "keys/", "link"], "own:all"), frozenset())
    user, group = os.getuid(), os.getgid()
    accounts = users.parse(f"me:x:{user}:0::/:\n", f"a b:x:{group}:\n")
    assert identity.described(own, [layer], accounts) == {}
    accounts = users.parse(f"me:x:{user}:0::/:\n", "")
    found = identity.described(own, [layer], accounts)
    assert found == {"key": f"0640:me:{group}", "store": f"2750:me:{group}"}
    (tmp_path / "top").mkdir()
    identity.write(own, tmp_path / "top", "layer", found)
    lines = (tmp_path / "top" / state.IDENTITY / "layer").read_text().splitlines()
    assert lines == [f"own:all key 0640:me:{group}", "own:all keys/", "own:all link", f"own:all store 2750:me:{group}"]
    assert set(identity._known(tmp_path / "top")) == {"key", "keys/", "link", "store"}
