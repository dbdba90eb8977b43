"""Where images come from: directories, patterns, archives and standard input, including hostile ones."""

import gzip
import io
import os
import struct
import tarfile
import tracemalloc
import zipfile
from pathlib import Path

import pytest

from fmnist_lightning.data import image_sources
from fmnist_lightning.data.image_sources import count_files, find_sources


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A working directory with photos/, in which each file's content is its name."""
    monkeypatch.chdir(tmp_path)
    for name in ("b/2.png", "b/10.png", "a.png", "b.png", ".hidden/x.png", "c/d/e.jpg", "c/notes.txt"):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return tmp_path / "photos"


ORDER = [".hidden/x.png", "a.png", "b/10.png", "b/2.png", "b.png", "c/d/e.jpg", "c/notes.txt"]


def found(typed: str, stdin: bytes = b"", excluded=()) -> list[str]:
    return [source.path for source in find_sources(typed, io.BufferedReader(io.BytesIO(stdin)), excluded)]


def contents(typed: str) -> dict[str, bytes | str]:
    """By name, the content or the error."""
    result: dict[str, bytes | str] = {}
    for source in find_sources(typed, io.BufferedReader(io.BytesIO())):
        try:
            result[source.name] = source.read()
        except (ValueError, OSError) as error:
            result[source.name] = str(error)
    return result


def test_directory_is_walked_in_sorted_order(folder):
    assert found("photos") == [f"photos/{name}" for name in ORDER]
    assert contents("photos/") == {name: name.encode() for name in ORDER}


def test_order_does_not_depend_on_how_many_entries_are_held(folder, monkeypatch):
    expected = found("photos")
    monkeypatch.setattr(image_sources, "MAX_ENTRIES", 1)
    assert found("photos") == expected


def test_outputs_in_the_directory_are_left_out(folder):
    (folder / "inputs").symlink_to(folder / "b")
    assert found("photos", excluded=[Path("photos/c"), folder / "b" / "2.png"]) == [
        f"photos/{name}" for name in ORDER if name != "b/2.png" and not name.startswith("c/")
    ]


def test_links_to_directories_are_not_followed_and_links_to_files_are(folder):
    (folder / "self").symlink_to(folder)
    (folder / "c" / "up").symlink_to("..")
    (folder / "loop").symlink_to("loop")
    (folder / "z.png").symlink_to("a.png")
    assert found("photos") == [f"photos/{name}" for name in [*ORDER, "loop", "z.png"]]
    assert count_files("photos") == len(ORDER) + 2
    assert count_files("photos/a.png") is None
    assert contents("photos")["z.png"] == b"a.png"
    assert "symbolic links" in contents("photos")["loop"]
    assert len(found("photos/**")) == len(found("photos/*")) + 1 == 9
    (folder.parent / "link").symlink_to(folder)
    assert len(found("link")) == len(ORDER) + 2


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("photos/*.png", ["a.png", "b.png"]),
        ("photos/b/?.png", ["b/2.png"]),
        ("photos/*/*", ["b/10.png", "b/2.png", "c/d/e.jpg", "c/notes.txt"]),
        ("photos/**/*.png", ["a.png", "b.png", "b/10.png", "b/2.png"]),
        ("photos/**/**/*.png", ["a.png", "b.png", "b/10.png", "b/2.png"]),
        ("photos/**/*", ORDER[1:]),
        ("photos/**/d/**", ["c/d/e.jpg"]),
        ("photos/**/*/**/*.jpg", ["c/d/e.jpg"]),
        ("photos/**", ORDER),
        ("photos/**/**", ORDER),
        ("photos/[ab].png", ["a.png", "b.png"]),
        ("*/a.png", ["a.png"]),
        ("photos/*/d/*.jpg", ["c/d/e.jpg"]),
    ],
)
def test_pattern(folder, pattern, names):
    assert sorted(found(pattern)) == sorted(f"photos/{name}" for name in names)
    assert found(str(folder.parent / pattern)) == [str(folder.parent / path) for path in found(pattern)]


def test_names_are_relative_to_the_fixed_part_of_a_pattern(folder):
    assert list(contents("photos/b/*.png")) == ["10.png", "2.png"]
    assert list(contents("photos/*")) == ["a.png", "b/10.png", "b/2.png", "b.png", "c/d/e.jpg", "c/notes.txt"]


def test_a_file_whose_name_looks_like_a_pattern(folder):
    (folder / "x[1].png").write_bytes(b"content")
    assert contents("photos/x[1].png") == {"x[1].png": b"content"}


def test_paths_on_standard_input(folder):
    assert found("-", b"photos/a.png\nmissing\r\n\n/x/y z.png") == ["photos/a.png", "missing", "/x/y z.png"]
    assert found("-", b"a\nb.png\0c.png\0") == ["a\nb.png", "c.png"]
    assert os.fsencode(found("-", b"caf\xe9.png\n")[0]) == b"caf\xe9.png"
    assert len(found("-", b"photos/a.png\n" * 10_000)) == 10_000
    with pytest.raises(ValueError, match="images=-: a path of more than 65,536 bytes"):
        found("-", bytes(1) + b"x" * 10**6)


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("missing.png", "images=missing.png: No such file or directory"),
        ("photos/*.tiff", r"images=photos/\*.tiff: no images"),
        ("nowhere/**/*.png", "no images"),
        ("empty", "images=empty: no images"),
        ("-", "images=-: no paths"),
        ("x" * 4000, r"^images=x{100}\.\.\.x{100}: File name too long$"),
        ("x*" * 2000, "no images"),
        ("pipe", "images=pipe: neither a file nor a directory"),
    ],
)
def test_what_matches_nothing_is_a_one_line_error(folder, typed, message):
    (folder.parent / "empty" / "deeper").mkdir(parents=True)
    os.mkfifo(folder.parent / "pipe")
    with pytest.raises(ValueError, match=message):
        found(typed)


def test_very_deep_directories(tmp_path):
    directory = os.open(tmp_path, os.O_RDONLY)
    for _ in range(25):  # longer than a path may be
        os.mkdir("deep" * 50, dir_fd=directory)
        inner = os.open("deep" * 50, os.O_RDONLY, dir_fd=directory)
        os.close(directory)
        directory = inner
    os.close(directory)
    (tmp_path / "a.png").write_bytes(b"content")
    result = list(contents(str(tmp_path)).values())
    assert result[0] == b"content"
    assert "too long" in result[1]


def test_memory_does_not_grow_with_the_number_of_files(tmp_path, monkeypatch):
    for i in range(3000):
        (tmp_path / f"{i:060d}").touch()
    with zipfile.ZipFile(tmp_path / "archive.zip", "w") as archive:
        for i in range(3000):
            archive.writestr(f"{i:060d}", b"")
    monkeypatch.setattr(image_sources, "MAX_ENTRIES", 100)
    for typed in (tmp_path, tmp_path / "archive.zip"):
        tracemalloc.start()
        count = sum(1 for _ in find_sources(str(typed), io.BufferedReader(io.BytesIO())))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert count >= 3000
        assert peak < 300_000


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2])
def test_zip_archive(folder, method):
    with zipfile.ZipFile("x.zip", "w", method) as archive:
        archive.mkdir("directory")
        for name in ORDER:
            archive.write(folder / name, name)
        archive.writestr("__MACOSX/._a.png", b"")
        archive.writestr("../../ä.png", b"outside")
    expected = {name: name.encode() for name in ORDER} | {"../../ä.png": b"outside"}
    if method == zipfile.ZIP_BZIP2:
        expected = dict.fromkeys(expected, "compressed with method 12; only stored and deflated members are read")
    assert contents("x.zip") == expected


def test_zip_archive_with_a_comment_and_64_bit_numbers(tmp_path, monkeypatch):
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 5)
    path = tmp_path / "x.jpg"  # recognised by content
    with zipfile.ZipFile(path, "w") as archive:
        for i in range(9):
            archive.writestr(f"{i}.png", b"content")
        archive.comment = b"PK comment" * 100
    assert b"PK\x06\x06" in path.read_bytes()
    assert contents(str(path)) == {f"{i}.png": b"content" for i in range(9)}


def test_zip_member_larger_than_32_bits_in_the_table(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive, archive.open("a.png", "w", force_zip64=True) as member:
        member.write(b"content")
    assert contents(str(tmp_path / "x.zip")) == {"a.png": b"content"}


@pytest.mark.parametrize("kind", ["", "gz"])
def test_tar_archive(folder, kind):
    with tarfile.open("x.tar", f"w:{kind}") as archive:
        for name in ORDER:
            archive.add(folder / name, name)
        member = tarfile.TarInfo("../../outside.png")
        archive.addfile(member)
        link = tarfile.TarInfo("link.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    expected = {name: name.encode() for name in ORDER}
    assert contents("x.tar") == expected | {"../../outside.png": b"", "link.png": "a link or a device in the archive"}


def test_members_as_large_as_a_bomb_are_not_unpacked(tmp_path):
    zeros = bytes(2**26 + 1)
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.png", zeros)
        archive.writestr("b.png", b"content")
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        for name, size in (("bomb.png", 2**40), ("a.png", 0)):
            member = tarfile.TarInfo(name)
            member.size = size
            archive.fileobj.write(member.tobuf(tarfile.GNU_FORMAT))
    with gzip.open(tmp_path / "x.tar.gz", "wb", 1) as file:
        member = tarfile.TarInfo("bomb.png")
        member.size = 2**30
        file.write(member.tobuf() + zeros)
    assert contents(str(tmp_path / "x.zip")) == {"bomb.png": "larger than 64 MiB", "b.png": b"content"}
    assert contents(str(tmp_path / "x.tar"))["bomb.png"] == "larger than 64 MiB"
    packed = contents(str(tmp_path / "x.tar.gz"))
    assert packed["bomb.png"] == "larger than 64 MiB"
    assert "unpacked more than 200 times as large" in packed["x.tar.gz"]


def test_zip_archive_whose_members_overlap(tmp_path):
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.png", bytes(10_000))
    data = path.read_bytes()
    start = data.index(b"PK\x01\x02")
    entry = data[start : data.index(b"PK\x05\x06")]
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 50, 50, 50 * len(entry), start, 0)
    path.write_bytes(data[:start] + 50 * entry + end)
    assert contents(str(path))["x.zip"] == "damaged archive: its members overlap"


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
def test_damaged_archives_end_with_an_error(folder, kind):
    path = Path(f"x.{kind}")
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name in ORDER:
                archive.writestr(name, name * 1000)
    else:
        with tarfile.open(path, f"w:{kind.partition('.')[2]}") as archive:
            for name in ORDER:
                archive.add(folder / name, name)
    data = path.read_bytes()
    middle = len(data) // 2 + 100
    for damaged in (data[:middle], data[: middle - 100] + b"\1" * 600 + data[middle + 500 :]):
        path.write_bytes(damaged)
        errors = [value for value in contents(str(path)).values() if isinstance(value, str)]
        assert any("damaged archive" in error for error in errors)
    path.write_bytes(data)
    assert not any(isinstance(value, str) for value in contents(str(path)).values())


def test_encrypted_zip_member(tmp_path):
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.png", b"content")
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    assert contents(str(path)) == {"a.png": "encrypted"}
