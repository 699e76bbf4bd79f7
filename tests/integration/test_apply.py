"""``apply``: a file becomes the machine's intent, in one transaction, once."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema

from tests.archive import Archive
from tests.integration.system import REPOSITORY, System, output


def write(place: Path, text: str) -> Path:
    place.write_text(text)
    return place


def test_a_machine_becomes_what_the_file_says_and_stays_so(
    sysroot: System, own_archive: Archive, tmp_path: Path
) -> None:
    sysroot.use_archive(own_archive)
    sysroot.install("rec-a")
    sysroot.run("kargs", "--append=quiet", "--append=quiet", "--append=kept")
    (tmp_path / "conf-file.deb").write_bytes(next((own_archive.root / "pool").rglob("conf-file_*.deb")).read_bytes())
    (sysroot.deployment() / "etc/crypttab").write_text("# none\n")
    file = write(
        tmp_path / "host.toml",
        """
        packages = ["greeter", "asks", "./conf-file.deb"]
        recommends = false
        debconf = ["asks asks/secret password s3cret-w0rd"]
        [overrides]
        replace = ["base-lib=2.0"]
        [kernel-args]
        present = ["console=ttyS0", "rw"]
        absent = ["quiet", "never-there"]
        [initramfs]
        etc = ["/etc/crypttab"]
        """,
    )
    with sysroot.unchanged():
        planned = sysroot.run("apply", "--dry-run", file)
    done = sysroot.run("apply", "--json", file)
    document = done.document
    jsonschema.validate(document, json.loads((REPOSITORY / "docs/schema/apply.json").read_text()))
    intent = {
        name: [f"{item['kind']}: {item['value']}" for item in items] for name, items in document["intent"].items()
    }
    assert intent == {
        "added": [
            "package: greeter",
            "package: asks",
            "package: conf-file 1.0 [all]",
            "recommends: false",
            "override replace: base-lib=2.0",
            "kernel argument: console=ttyS0",
            "initramfs file: /etc/crypttab",
            "answer: asks/secret",
        ],
        "removed": ["package: rec-a", "kernel argument: quiet", "kernel argument: quiet"],
    }
    # The preview said the same, and neither tells a password.
    assert [line[4:] for line in planned.stdout.splitlines() if line.startswith("  + ")] == intent["added"]
    assert "s3cret" not in planned.stdout + done.stdout + planned.stderr + done.stderr
    # One deployment, with all of it.
    assert sysroot.requested() == ["greeter", "asks"]
    assert sysroot.dpkg_status()["base-lib"] == ("2.0", "install ok installed")
    assert "rec-a" not in sysroot.dpkg_status()
    assert (sysroot.deployment() / "usr/share/asks/secret").read_text() == "s3cret-w0rd\n"
    assert sysroot.run("kargs").stdout == "root=LABEL=root rw kept console=ttyS0\n"
    recorded = dict(sysroot.origin()["apt-ostree"])
    assert recorded.keys() == {"initramfs-etc", "inputs"}
    assert recorded["initramfs-etc"] == "/etc/crypttab;"
    assert sysroot.run("kargs", "--deploy-index=1").stdout == "root=LABEL=root rw quiet quiet kept\n"
    # Once more there is nothing to do, in whatever order the lists are, and without an archive.
    own_archive.root.rename(own_archive.root.with_name("gone"))
    write(
        file, file.read_text().replace('"greeter", "asks", "./conf-file.deb"', '"./conf-file.deb", "asks", "greeter"')
    )
    with sysroot.unchanged():
        again = sysroot.run("apply", "--unchanged-exit-77", file, status=77)
    assert again.stdout.startswith("Nothing to do: ")
    # What the file no longer names goes; kernel arguments that no file names stay.
    sysroot.run("apply", "-C", write(tmp_path / "less.toml", 'packages = ["greeter"]\n'))
    assert sysroot.requested() == ["greeter"]
    assert sysroot.origin()["apt-ostree"].keys() == {"inputs"}
    assert sysroot.run("kargs").stdout == "root=LABEL=root rw kept console=ttyS0\n"
    sysroot.run("apply", write(tmp_path / "nothing.toml", ""))
    assert sysroot.commit() == sysroot.base.commit


def test_what_the_base_has_is_recorded_as_it_is_printed(sysroot: System, tmp_path: Path) -> None:
    file = write(tmp_path / "host.toml", 'packages = ["base-lib", "greeter"]\n')
    done = sysroot.run("apply", file)
    assert [line for line in done.stdout.splitlines() if line.startswith("  + ")] == [
        "  + package: base-lib",
        "  + package: greeter",
    ]
    assert sysroot.requested() == ["base-lib", "greeter"]
    sysroot.run("apply", "--unchanged-exit-77", file, status=77)


def test_a_new_override_is_for_a_package_of_the_base_and_one_on_record_stays(
    sysroot: System, archive: Archive, tmp_path: Path
) -> None:
    (tmp_path / "greeter.deb").symlink_to(archive.root / "pool/main/greeter_2.0_all.deb")
    file = write(tmp_path / "host.toml", '[overrides]\nremove = ["base-lib"]\nreplace = ["./greeter.deb"]\n')
    with sysroot.unchanged():
        assert sysroot.run("apply", file, status=1).failure.brief == "not in the base: greeter"
    sysroot.run("apply", write(file, '[overrides]\nremove = ["base-lib"]\n'))
    # A base of which that package is no part.
    output("ostree", "commit", f"--repo={sysroot.repo}", "--branch=without", f"--tree=ref={sysroot.commit()}",
           "--add-metadata=ostree.bootable=true")  # fmt: skip
    sysroot.run("rebase", ":without")
    sysroot.run("apply", "--unchanged-exit-77", file, status=77)


def test_a_download_for_a_file_changes_nothing_yet(sysroot: System, tmp_path: Path) -> None:
    file = write(tmp_path / "host.toml", 'packages = ["greeter"]\n[kernel-args]\npresent = ["a"]\n')
    with sysroot.unchanged():
        sysroot.run("apply", "-D", file)
        sysroot.run("apply", "-D", "--unchanged-exit-77", file, status=77)
    sysroot.run("apply", "-C", "--no-recommends", file)
    assert sysroot.origin().get("packages", "recommends") == "false"


def test_kernel_arguments_alone_make_no_layer(sysroot: System, tmp_path: Path) -> None:
    file = write(tmp_path / "host.toml", '[kernel-args]\npresent = ["a=1"]\n')
    with sysroot.unchanged():
        assert sysroot.run("apply", "-n", file).stdout == "Would change:\n  + kernel argument: a=1\n"
    sysroot.run("apply", file)
    assert sysroot.commit() == sysroot.base.commit
    assert sysroot.run("kargs").stdout == "root=LABEL=root rw a=1\n"
    sysroot.run("apply", "--unchanged-exit-77", file, status=77)


def test_a_file_with_mistakes_changes_nothing(sysroot: System, tmp_path: Path) -> None:
    file = write(tmp_path / "host.toml", 'package = ["greeter"]\n[kernel-args]\npresent = ["ostree=x"]\n')
    with sysroot.unchanged():
        failure = sysroot.run("apply", file, status=2).failure
    assert failure.brief == f"{file} is not valid"
    assert failure.detail.splitlines() == [
        "line 1: unknown key 'package'; did you mean 'packages'?",
        "line 3: 'present' of [kernel-args]: the kernel argument 'ostree' cannot be changed",
    ]
