"""Files are written whole, and neither written, copied nor removed through a link that somebody put in the way."""

from __future__ import annotations

import os
import shutil
import stat
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest

from apt_ostree.errors import SpaceError, ToolError, UsageError
from apt_ostree.host import files, mounts


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A file of the host's, which no call may read, change or remove."""
    path = tmp_path / "outside"
    path.write_text("the host's")
    path.chmod(0o640)
    return path


def untouched(path: Path) -> bool:
    return path.read_text() == "the host's" and stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_file_is_replaced_whole_with_the_mode_that_was_asked_for(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a longer content")
    files.write_atomically(tmp_path / "file", b"new", 0o600)
    assert (tmp_path / "file").read_bytes() == b"new"
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == ["file"]


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(descriptor: int) -> None:
        raise OSError("no space")

    (tmp_path / "file").write_text("old")
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="no space"):
        files.write_atomically(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


def test_a_link_in_the_place_of_the_temporary_file_is_neither_written_through_nor_removed(
    tmp_path: Path, outside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "urandom", lambda count: bytes(count))
    planted = tmp_path / f".file.{'00' * 8}"
    planted.symlink_to(outside)
    with pytest.raises(FileExistsError):
        files.write_atomically(tmp_path / "file", b"new")
    assert planted.is_symlink()
    assert untouched(outside)


def test_two_writers_of_one_file_use_different_temporary_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names: list[str] = []
    rename = Path.rename

    def noted(temporary: Path, target: Path) -> Path:
        names.append(temporary.name)
        return rename(temporary, target)

    monkeypatch.setattr(Path, "rename", noted)
    for _ in range(2):
        files.write_atomically(tmp_path / "file", b"", durable=False)
    assert len(set(names)) == len(names) == 2


def test_a_link_is_replaced_itself(tmp_path: Path, outside: Path) -> None:
    (tmp_path / "link").symlink_to(outside)
    files.write_atomically(tmp_path / "link", b"new")
    assert not (tmp_path / "link").is_symlink()
    assert untouched(outside)


def test_a_copy_writes_through_no_link(tmp_path: Path, outside: Path) -> None:
    (tmp_path / "source").write_text("new")
    (tmp_path / "target").symlink_to(outside)
    with pytest.raises(OSError):
        files.take(tmp_path / "source", tmp_path / "target")
    assert untouched(outside)


def test_a_file_that_may_still_change_is_taken_unless_it_is_a_link_or_something_else(
    tmp_path: Path, outside: Path
) -> None:
    files.take(outside, tmp_path / "taken")
    assert (tmp_path / "taken").read_text() == "the host's"
    (tmp_path / "link").symlink_to(outside)
    os.mkfifo(tmp_path / "fifo")
    for name in ("link", "fifo", "missing"):
        with pytest.raises(ToolError, match="cannot read"):
            files.take(tmp_path / name, tmp_path / "copy")
        assert not (tmp_path / "copy").exists()


def test_of_a_link_to_a_directory_the_link_alone_is_removed(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept/file").touch()
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/link").symlink_to(tmp_path / "kept")
    (tmp_path / "link").symlink_to(tmp_path / "kept")
    for name in ("tree", "link", "missing"):
        files.remove_tree(tmp_path / name)
    assert os.listdir(tmp_path) == ["kept"]
    assert os.listdir(tmp_path / "kept") == ["file"]


def test_nothing_is_removed_below_which_something_is_mounted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tree/mounted").mkdir(parents=True)
    (tmp_path / "tree/file").touch()
    monkeypatch.setattr(mounts, "points", lambda: ["/", str(tmp_path / "tree/mounted")])
    with pytest.raises(ToolError, match="tree"):
        files.remove_tree(tmp_path / "tree")
    assert (tmp_path / "tree/file").exists()


def nest(top: Path, depth: int, kept: Path) -> None:
    """Directories in each other, some with a file and a link to ``kept``, deeper than a path can name."""
    top.mkdir()
    directory = os.open(top, os.O_RDONLY)
    for level in range(depth):
        os.mkdir("d", dir_fd=directory)
        inner = os.open("d", os.O_RDONLY, dir_fd=directory)
        os.close(directory)
        directory = inner
        if level % 500 == 0:
            os.close(os.open("file", os.O_WRONLY | os.O_CREAT, dir_fd=directory))
            os.symlink(kept, "link", dir_fd=directory)
    os.close(directory)


def flatten(top: Path) -> None:
    """Remove what a failure left of ``nest``: pytest itself cannot."""
    while (top / "d/d").is_dir():
        (top / "d/d").rename(top / "next")
        shutil.rmtree(top / "d")
        (top / "next").rename(top / "d")


def test_directories_in_each_other_by_the_thousand_are_removed_and_no_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept/file").touch()
    nest(tmp_path / "tree", 2100, tmp_path / "kept")
    try:
        files.remove_tree(tmp_path / "tree")
    finally:
        flatten(tmp_path / "tree")
    assert os.listdir(tmp_path) == ["kept"]
    assert os.listdir(tmp_path / "kept") == ["file"]


def test_a_scratch_directory_is_empty_ours_alone_and_gone_at_the_end(tmp_path: Path) -> None:
    place = tmp_path / "parent/scratch"
    place.mkdir(parents=True, mode=0o755)
    (place / "left").touch()
    with files.scratch_directory(place) as scratch:
        assert scratch == place
        assert os.listdir(scratch) == []
        assert stat.S_IMODE(scratch.stat().st_mode) == 0o700
        (scratch / "new").touch()
    assert not place.exists()


def test_a_failure_in_a_scratch_directory_is_not_hidden_by_one_of_removing_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        with files.scratch_directory(tmp_path / "scratch"):
            monkeypatch.setattr(mounts, "points", lambda: [str(tmp_path / "scratch")])
            raise SpaceError("the first failure")

    with pytest.raises(SpaceError, match="the first failure"):
        fail()


def test_a_file_that_grows_while_it_is_taken_is_copied_as_long_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "x.deb"
    source.write_bytes(b"a" * (3 << 20))

    fstat = os.fstat

    def look(descriptor: int) -> os.stat_result:
        status = fstat(descriptor)
        os.truncate(source, 50 << 20)
        return status

    monkeypatch.setattr(os, "fstat", look)
    files.take(source, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == b"a" * (3 << 20)


def disk(monkeypatch: pytest.MonkeyPatch, size: int, free: int) -> None:
    status = os.statvfs_result((4096, 4096, size >> 12, free >> 12, free >> 12, 1, 1, 1, 0, 255))
    monkeypatch.setattr(os, "statvfs", lambda _: status)


@pytest.mark.parametrize(
    ("size", "free", "needed", "fits"),
    [
        pytest.param(10 << 30, 1 << 30, 700 << 20, True, id="a small disk keeps its share"),
        pytest.param(10 << 30, 1 << 30, 720 << 20, False, id="and no file takes of it"),
        pytest.param(10 << 40, 1 << 30, 510 << 20, True, id="a large disk keeps a fixed size"),
        pytest.param(10 << 40, 1 << 30, 514 << 20, False, id="and no more"),
        pytest.param(10 << 40, 10 << 20, 4 << 20, True, id="a full one half of what is left"),
        pytest.param(10 << 40, 10 << 20, 6 << 20, False, id="and not all"),
    ],
)
def test_a_sparse_file_is_taken_where_it_leaves_what_the_host_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, free: int, needed: int, fits: bool
) -> None:
    source = tmp_path / "x.deb"
    source.touch()
    os.truncate(source, needed)
    disk(monkeypatch, size, free)
    if fits:
        files.check_space(tmp_path, needed, "x.deb", reserve=True)
        return
    with pytest.raises(SpaceError, match=r"x\.deb"):
        files.take(source, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def test_too_little_space_is_told_with_both_sizes(tmp_path: Path) -> None:
    files.check_space(tmp_path, 0, "the plan")
    with pytest.raises(SpaceError, match="the plan") as caught:
        files.check_space(tmp_path, 10**20, "the plan")
    assert "100000000000000.0 MB" in caught.value.detail


@pytest.mark.parametrize(("inodes", "fits"), [(0, True), (960, True), (980, False)])
def test_inodes_leave_what_the_host_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inodes: int, fits: bool
) -> None:
    status = SimpleNamespace(f_bavail=1 << 30, f_blocks=1 << 30, f_frsize=1, f_favail=990, f_files=1000)
    monkeypatch.setattr(os, "statvfs", lambda place: status)
    if fits:
        files.check_space(tmp_path, 0, "the tree", inodes=inodes, reserve=True)
        # Btrfs makes them as they are needed, and says that it has none.
        status.f_favail = status.f_files = 0
        files.check_space(tmp_path, 0, "the tree", inodes=inodes, reserve=True)
        return
    with pytest.raises(SpaceError, match="too few inodes for the tree"):
        files.check_space(tmp_path, 0, "the tree", inodes=inodes, reserve=True)


MB = 1 << 20


def filesystem(size: int, free: int, inodes: int = 1_000_000, free_inodes: int = 500_000) -> os.statvfs_result:
    """A filesystem of so many MB."""
    return os.statvfs_result((MB, MB, size, free, free, inodes, free_inodes, free_inodes, 0, 255))


def test_a_large_disk_keeps_a_fixed_reserve_and_a_share_of_its_inodes() -> None:
    assert files.reserves(filesystem(100_000, 50_000)) == (512 * MB, 30_000)
    assert files.reserves(filesystem(100_000, 50_000), 10 * MB)[0] == 10 * MB


def test_a_small_disk_keeps_a_share() -> None:
    assert files.reserves(filesystem(1000, 500))[0] == 30 * MB


def test_a_disk_with_less_than_the_reserve_from_the_start_keeps_half_of_what_is_free() -> None:
    assert files.reserves(filesystem(100_000, 400, free_inodes=1000)) == (200 * MB, 500)


def test_a_filesystem_that_makes_inodes_as_it_needs_them_keeps_none() -> None:
    assert files.reserves(filesystem(100_000, 50_000, 0, 0))[1] == 0


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A filesystem of 1000 MB, of which 30 stay free, with 1000 inodes; ``f_bavail`` are its free bytes."""
    status = SimpleNamespace(f_bavail=500 * MB, f_blocks=1000 * MB, f_frsize=1, f_favail=900, f_files=1000)
    monkeypatch.setattr(os, "statvfs", lambda place: status)
    return status


def test_what_is_held_and_not_yet_written_is_no_room(tmp_path: Path, free: SimpleNamespace) -> None:
    room = files.Room(tmp_path)
    with room.hold([300 * MB], "one"):
        assert room._lack((170 * MB, 1), "two") is None
        assert room._lack((171 * MB, 1), "two") is not None
    with room.hold([470 * MB], "two"):
        pass
    with pytest.raises(SpaceError, match="too little space for three"), room.hold([470 * MB, 1], "three"):
        pass


def test_a_room_counts_blocks_and_inodes(tmp_path: Path, free: SimpleNamespace) -> None:
    room = files.Room(tmp_path)
    free.f_bavail = 30 * MB + 870 * 4096
    with room.hold([1] * 870, "small files"):
        pass
    free.f_bavail -= 1
    with pytest.raises(SpaceError, match="too little space for small files"), room.hold([1] * 870, "small files"):
        pass
    with pytest.raises(SpaceError, match="too few inodes for empty files"), room.hold([0] * 871, "empty files"):
        pass


def test_the_reserve_of_a_full_disk_does_not_shrink_with_each_file(tmp_path: Path, free: SimpleNamespace) -> None:
    free.f_bavail = 40 * MB
    room = files.Room(tmp_path)
    for _ in range(5):
        with room.hold([4 * MB], "a file"):
            free.f_bavail -= 4 * MB
    with pytest.raises(SpaceError), room.hold([1], "a file"):
        pass


def test_who_finds_others_in_the_room_waits_for_them_before_it_is_too_little(
    tmp_path: Path, free: SimpleNamespace
) -> None:
    room, looked = files.Room(tmp_path), threading.Event()
    lack = room._lack

    def look(mine: tuple[int, int], what: str) -> SpaceError | None:
        found = lack(mine, what)
        looked.set()
        return found

    with ThreadPoolExecutor(2) as pool:

        def write(size: int) -> None:
            with room.hold([size], "a file"):
                free.f_bavail -= size

        with room.hold([300 * MB], "the first"):
            room._lack = look  # type: ignore[method-assign]
            fits = pool.submit(write, 200 * MB)
            assert looked.wait(10)
            looked.clear()
            fits_not = pool.submit(write, 460 * MB)
            assert looked.wait(10)
            assert not fits.done() and not fits_not.done()
            # It needed less than it had said.
            free.f_bavail -= 100 * MB
        assert fits.result(10) is None
        assert isinstance(fits_not.exception(10), SpaceError)
    assert free.f_bavail == 200 * MB


@pytest.mark.parametrize("kind", ["pipe", "zero", "terminal", "directory", "holes", "grows", "missing"])
def test_a_file_that_somebody_else_may_own_is_read_only_if_it_ends(tmp_path: Path, kind: str) -> None:
    place = tmp_path / "named"
    size = 1 << 40 if kind == "holes" else 5
    match kind:
        case "pipe":
            os.mkfifo(place)
        case "zero" | "terminal":
            place.symlink_to("/dev/zero" if kind == "zero" else "/dev/ptmx")
        case "directory":
            place.mkdir()
        case "holes" | "grows":
            place.touch()
            os.truncate(place, size)
    began = time.monotonic()
    with pytest.raises(UsageError, match="cannot read") as caught:
        files.read_regular(place, 4)
    assert time.monotonic() - began < 5
    assert caught.value.detail == {
        "missing": "No such file or directory", "directory": "Is a directory",
        "holes": "it has more than 4 bytes", "grows": "it has more than 4 bytes",
    }.get(kind, "it is not a regular file")  # fmt: skip


def test_a_file_may_have_all_of_its_limit_and_say_nothing_of_its_size(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"1234")
    assert files.read_regular(tmp_path / "file", 4) == b"1234"
    assert files.read_regular(tmp_path / "file") == b"1234"
    assert files.read_regular(Path("/proc/self/stat"), 4096).endswith(b"\n")


@pytest.mark.parametrize("late", [False, True])
def test_what_a_command_prints_is_read_to_its_end(late: bool) -> None:
    reading, writing = os.pipe()

    def print_more() -> None:
        os.write(writing, b"cd")
        os.close(writing)

    try:
        os.write(writing, b"ab")
        if late:
            threading.Timer(0.2, print_more).start()
        else:
            os.close(writing)
        found = files.read_regular(Path(f"/dev/fd/{reading}"), 100, pipe_seconds=10)
        assert found == (b"abcd" if late else b"ab")
    finally:
        os.close(reading)


def test_a_pipe_that_does_not_end_in_time_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "nobody")
    reading, writing = os.pipe()
    try:
        os.write(writing, b"ab")
        for path in (tmp_path / "nobody", Path(f"/dev/fd/{reading}")):
            with pytest.raises(UsageError, match="cannot read") as caught:
                files.read_regular(path, 100, pipe_seconds=0.2)
            assert caught.value.detail == "it is a pipe that did not end within 0.2 s"
        with pytest.raises(UsageError, match="cannot read"):
            files.read_regular(Path(f"/dev/fd/{reading}"), 1, pipe_seconds=0.2)
    finally:
        os.close(reading)
        os.close(writing)


def test_a_copy_of_a_named_file_is_for_root_alone_and_goes_again(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"key")
    with files.own_copy(tmp_path / "key") as copy:
        assert copy is not None
        (tmp_path / "key").write_bytes(b"another")
        assert copy.read_bytes() == b"key"
        assert copy.parent.stat().st_mode & 0o777 == 0o700
    assert not copy.parent.exists()
    with files.own_copy(None) as nothing:
        assert nothing is None
