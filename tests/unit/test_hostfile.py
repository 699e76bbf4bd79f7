"""The file of ``apply``: strict, and every mistake with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from apt_ostree.errors import HostFileError
from apt_ostree.inputs.hostfile import HostFile, load, parse

REPOSITORY = Path(__file__).parents[2]
FILE = Path("/srv/host.toml")


def test_every_key_is_read() -> None:
    text = """
    packages = ["vim=2:9.1", "./a.deb", "/srv/b.deb"]
    recommends = true
    debconf = ["tzdata tzdata/Areas select Europe"]
    [overrides]
    remove = ["exim4-base", "libfoo:i386"]
    replace = ["openssl/trixie-security", "c/d.deb"]
    [kernel-args]
    present = ['dyndbg="file a +p"', "panic=30"]
    absent = ["quiet"]
    [initramfs]
    regenerate = true
    args = ["--add", "crypt"]
    etc = ["/etc/crypttab"]
    """
    assert parse(text, FILE) == HostFile(
        packages=("vim=2:9.1", "/srv/a.deb", "/srv/b.deb"),
        recommends=True,
        answers="tzdata tzdata/Areas select Europe\n",
        remove=("exim4-base", "libfoo:i386"),
        replace=("openssl/trixie-security", "/srv/c/d.deb"),
        kargs_present=('dyndbg="file a +p"', "panic=30"),
        kargs_absent=("quiet",),
        regenerate=True,
        initramfs_args=("--add", "crypt"),
        initramfs_etc=("/etc/crypttab",),
    )


def test_an_empty_file_asks_for_nothing() -> None:
    assert parse("", FILE) == HostFile()


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        ("pakages = []", "line 1: unknown key 'pakages'; did you mean 'packages'?"),
        ("kernel-args = []", "line 1: 'kernel-args' must be a table"),
        ("[overrides]\nreset = []", "line 2: unknown key 'reset' of [overrides]"),
        ('[kernel-args]\npresnt = ["a"]', "line 2: unknown key 'presnt' of [kernel-args]; did you mean 'present'?"),
        ('packages = ["Vim"]', "line 1: entry 1 of 'packages' must be 'name', 'name:arch', 'name=version', "
         "'name/suite' or './file.deb', found 'Vim'"),
        ('packages = ["vim", "vim"]', "line 1: 'packages' has 'vim' more than once"),
        ('[overrides]\nreplace = ["openssl"]', "line 2: 'replace' has 'openssl', without a version or a suite"),
        ('[kernel-args]\npresent = ["a"]\nabsent = ["a"]', "line 3: 'a' is both present and absent"),
        ('[kernel-args]\npresent = ["a b"]', "line 2: entry 1 of 'present' of [kernel-args] must be one kernel "
         "argument, found 'a b'"),
        ('[kernel-args]\nabsent = ["ostree=x"]', "line 2: 'absent' of [kernel-args]: the kernel "
         "argument 'ostree' cannot be changed"),
        ('[initramfs]\nargs = ["--add"]', "line 2: 'args' of [initramfs] needs 'regenerate = true'"),
        ('[initramfs]\netc = ["/usr/x"]', "line 2: 'etc' of [initramfs] has '/usr/x', which is not a plain path "
         "below /etc"),
        ('[initramfs]\netc = ["/etc/a;b"]', "line 2: 'etc' of [initramfs] has '/etc/a;b', which is not a plain path "
         "below /etc"),
        ('debconf = ["a b nonsense s3cret"]', "line 1: 'debconf': entry 1: not an answer for debconf"),
    ],
)  # fmt: skip
def test_a_mistake_is_named(text: str, detail: str) -> None:
    with pytest.raises(HostFileError) as caught:
        parse(text, FILE)
    assert caught.value.detail == detail


def test_the_example_and_the_documentation_s_are_valid(tmp_path: Path) -> None:
    assert load(REPOSITORY / "examples/host.toml").packages == ("tree", "jq")
    text = (REPOSITORY / "docs/apply.md").read_text().partition("```toml\n")[2].partition("```")[0]
    assert parse(text, tmp_path / "host.toml").regenerate
