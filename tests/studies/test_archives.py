"""Archives as sources of studies: every member that can be read is, and each other one has its own error."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import stat
import tarfile
import warnings
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from medimageinsight import images, studies
from medimageinsight.errors import ImageError
from medimageinsight.studies import archives

if TYPE_CHECKING:
    from collections.abc import Mapping

SUFFIXES = {".tar": "w", ".tar.gz": "w:gz", ".tgz": "w:gz", ".tar.bz2": "w:bz2", ".tar.xz": "w:xz"}


def png(value: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.full((8, 9), value, dtype=np.uint8)).save(file, "PNG")
    return file.getvalue()


MEMBERS = {"a/1.png": png(1), "a/2.png": png(2), "b c/3.png": png(3)}


def write_zip(path: Path, members: Mapping[str, bytes] = MEMBERS, compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def write_tar(path: Path, members: Mapping[str, bytes] = MEMBERS, mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def read(source: Path | bytes, **limits: int) -> tuple[dict[str, int], dict[str, str]]:
    """Return the first pixel of each image by its name, and the code of each error by the name of its file."""
    failed: dict[str, str] = {}
    found = {}
    read_limits = images.Limits(**limits)
    for study in studies.read(source, failed=lambda name, error: failed.update({name: error.code}), limits=read_limits):
        for image in study.selected():
            try:
                found[str(image.origin)] = int(np.asarray(images.open(image, limits=read_limits).image)[0, 0])
            except ImageError as error:
                failed[str(image.origin)] = error.code
    return found, failed


@pytest.mark.parametrize("suffix", [".zip", *SUFFIXES])
def test_the_members_of_an_archive_are_images_with_its_name_and_theirs(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"ct{suffix}"
    write_zip(path) if suffix == ".zip" else write_tar(path, mode=SUFFIXES[suffix])
    found, failed = read(path)
    assert found == {f"{path}#member={name}": index for index, name in enumerate(MEMBERS, 1)}
    assert not failed


def test_the_format_is_recognised_by_content_and_in_memory(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "study.bin", mode="w:gz")
    assert len(read(path)[0]) == 3
    assert set(read(path.read_bytes())[0]) == {"#member=a/1.png", "#member=a/2.png", "#member=b c/3.png"}


def test_an_image_of_an_archive_is_opened_again_by_its_name(tmp_path: Path) -> None:
    for path in (write_zip(tmp_path / "a.zip"), write_tar(tmp_path / "a.tgz", mode="w:gz")):
        for index, name in enumerate(MEMBERS, 1):
            file = archives.open_member(studies.Origin.parse(f"{path}#member={name}"))
            assert images.load(file.read(images.Limits()))[0, 0, 0] == index
    with pytest.raises(ImageError) as raised:
        archives.open_member(studies.Origin(path=str(path), member="missing.png"))
    assert raised.value.code == "archive_member_missing"
    write_zip(path, {"missing.png": png(9)})  # a changed file is read again
    file = archives.open_member(studies.Origin(path=str(path), member="missing.png"))
    assert file.read(images.Limits()) == png(9)


def test_single_compressed_files_are_images(tmp_path: Path) -> None:
    for suffix, module in {".gz": gzip, ".bz2": bz2, ".xz": lzma}.items():
        (tmp_path / f"x.png{suffix}").write_bytes(module.compress(png(5)))
    (tmp_path / "two.png.gz").write_bytes(gzip.compress(png(6)[:40]) + gzip.compress(png(6)[40:]))
    write_zip(tmp_path / "y.zip", {"z.png.gz": gzip.compress(png(7))})
    found, failed = read(tmp_path)
    assert not failed
    for name, value in found.items():
        assert images.load(studies.open_image(name))[0, 0, 0] == value
    assert {Path(name).name: value for name, value in found.items()} == {
        "two.png.gz": 6, "x.png.bz2": 5, "x.png.gz": 5, "x.png.xz": 5, "y.zip#member=z.png.gz": 7,
    }  # fmt: skip


def test_hidden_files_and_resource_files_of_macos_are_skipped(tmp_path: Path) -> None:
    hidden = {"__MACOSX/a/._1.png": b"x", "a/._1.png": b"x", ".git/config": b"x", "a/.DS_Store": b"x"}
    for path in (write_zip(tmp_path / "a.zip", MEMBERS | hidden), write_tar(tmp_path / "a.tar", MEMBERS | hidden)):
        found, failed = read(path)
        assert len(found) == 3
        assert not failed


def test_names_that_lead_out_of_the_archive_are_refused_and_the_rest_is_read(tmp_path: Path) -> None:
    bad = {"../1.png": png(8), "/etc/2.png": png(8), "a\\..\\..\\3.png": png(8), "C:\\4.png": png(8)}
    for path in (write_zip(tmp_path / "a.zip", MEMBERS | bad), write_tar(tmp_path / "a.tar", MEMBERS | bad)):
        found, failed = read(path)
        assert len(found) == 3
        assert sorted(failed.values()) == ["archive_member_unsafe"] * 4


def test_links_and_devices_are_refused_and_the_rest_is_read(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "a.tar")
    with tarfile.open(path, "a") as archive:
        for kind, name in [
            (tarfile.SYMTYPE, "s"),
            (tarfile.LNKTYPE, "h"),
            (tarfile.CHRTYPE, "c"),
            (tarfile.FIFOTYPE, "f"),
        ]:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
    zipped = write_zip(tmp_path / "a.zip")
    with zipfile.ZipFile(zipped, "a") as archive:
        link = zipfile.ZipInfo("link.png")
        link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    for source, count in ((path, 4), (zipped, 1)):
        found, failed = read(source)
        assert len(found) == 3
        assert list(failed.values()) == ["archive_member_not_a_file"] * count


def test_encrypted_members_have_their_own_error(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", MEMBERS, zipfile.ZIP_STORED)
    data = bytearray(path.read_bytes())

    def encrypt(count: int) -> Path:
        position = 0
        for _ in range(count):
            position = data.index(b"PK\x01\x02", position) + 1
            data[position + 7] |= 1
        other = tmp_path / f"{count}.zip"
        other.write_bytes(data)
        return other

    found, failed = read(encrypt(1))
    assert len(found) == 2
    assert list(failed.values()) == ["archive_encrypted"]
    assert read(encrypt(3)) == ({}, {str(tmp_path / "3.zip"): "archive_encrypted"})


def test_the_last_of_two_files_of_one_name_is_used(tmp_path: Path) -> None:
    path, zipped = tmp_path / "a.tar", tmp_path / "a.zip"
    for value in (1, 2):
        write_tar(path, {"1.png": png(value)}, "w" if value == 1 else "a")
        with zipfile.ZipFile(zipped, "a") as archive, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            archive.writestr("1.png", png(value))
    for source in (path, zipped):
        name = f"{source}#member=1.png"
        assert read(source) == ({name: 2}, {name: "archive_name_twice"})


def test_names_in_other_encodings_can_be_read_and_opened_again(tmp_path: Path) -> None:
    name = "Schädel.png"
    with tarfile.open(tmp_path / "a.tar", "w", encoding="latin-1", format=tarfile.GNU_FORMAT) as archive:
        info = tarfile.TarInfo(name)
        info.size = len(png(4))
        archive.addfile(info, io.BytesIO(png(4)))
    path = write_zip(tmp_path / "a.zip", {"Sch#del.png": png(4)}, zipfile.ZIP_STORED)
    path.write_bytes(path.read_bytes().replace(b"Sch#del", b"Sch\x84del"))  # code page 437
    for source in (tmp_path / "a.tar", path):
        found, failed = read(source)
        assert not failed
        (origin,) = found
        assert archives.open_member(studies.Origin.parse(origin)).read(images.Limits()) == png(4)
        assert studies.Origin.parse(origin).member == name


def test_zip64_archives_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in MEMBERS.items():
            with archive.open(name, "w", force_zip64=True) as file:
                file.write(data)
    assert len(read(path)[0]) == 3


@pytest.mark.parametrize("suffix", [".zip", ".tar", ".tar.gz", ".tar.xz"])
def test_what_a_damaged_archive_still_has_is_read(suffix: str, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, 40_000, dtype=np.uint8).tobytes()
    members = MEMBERS | {"noise.bin": noise, "last.png": png(5)}
    path = tmp_path / f"a{suffix}"
    write_zip(path, members) if suffix == ".zip" else write_tar(path, members, SUFFIXES[suffix])
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    found, failed = read(path)
    assert len(found) == (0 if suffix == ".zip" else 3)  # the directory of a ZIP is at its end
    assert failed[str(path)] in ("archive_damaged", "archive_truncated")


def test_a_damaged_member_has_its_own_error(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", MEMBERS, zipfile.ZIP_STORED)
    data = bytearray(path.read_bytes())
    data[data.index(png(2)) + 20] ^= 255
    path.write_bytes(data)
    found, failed = read(path)
    assert sorted(found.values()) == [1, 3]
    assert failed == {f"{path}#member=a/2.png": "archive_member_damaged"}


def test_archives_within_archives_are_not_opened(tmp_path: Path) -> None:
    inner = write_zip(tmp_path / "inner.zip").read_bytes()
    path = write_tar(tmp_path / "a.tar", {"inner.zip": inner, "1.png": png(1)})
    found, failed = read(path)
    assert list(found.values()) == [1]
    assert failed == {f"{path}#member=inner.zip": "archive_nested"}


def test_archives_made_to_exhaust_a_machine_are_refused(tmp_path: Path) -> None:
    limits = archives.ArchiveLimits(max_members=10, max_total_bytes=3_000_000, max_ratio=50, ratio_from_bytes=100_000)

    def code_of(path: Path, **file_limits: int) -> dict[str, str]:
        failed: dict[str, str] = {}
        file = studies.files.LocalFile(str(path))
        try:
            members = archives.list_members(
                file, images.Limits(**file_limits), lambda name, error: failed.update({name: error.code}), limits
            )
            list(members or ())
        except ValueError as error:
            return {"": error.code}
        return failed

    zeros = {"zeros": bytes(1_000_000)}
    assert code_of(write_zip(tmp_path / "1.zip", zeros)) == {f"{tmp_path / '1.zip'}#member=zeros": "archive_bomb"}
    assert code_of(write_tar(tmp_path / "1.tgz", zeros, "w:gz")) == {"": "archive_bomb"}
    many = {str(number): b"" for number in range(11)}
    assert code_of(write_zip(tmp_path / "2.zip", many)) == {"": "archive_too_large"}
    assert code_of(write_tar(tmp_path / "2.tar", many)) == {"": "archive_too_large"}
    noise = np.random.default_rng(0).integers(0, 256, 2_000_000, dtype=np.uint8).tobytes()
    large = {"a": noise, "b": noise}
    assert code_of(write_zip(tmp_path / "3.zip", large)) == {"": "archive_too_large"}
    assert code_of(write_tar(tmp_path / "3.tgz", large, "w:gz")) == {"": "archive_too_large"}
    one = write_zip(tmp_path / "4.zip", {"a": noise})
    assert code_of(one, max_bytes=1_000_000) == {f"{one}#member=a": "image_too_large"}


def test_members_that_overlap_are_refused(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, 5_000, dtype=np.uint8).tobytes()
    path = write_zip(tmp_path / "a.zip", {"a.png": noise})
    with zipfile.ZipFile(path, "a") as archive:
        (info,) = archive.filelist
        for name in "bcdef":
            other = zipfile.ZipInfo(name)
            for key in ("header_offset", "CRC", "compress_size", "file_size", "compress_type"):
                setattr(other, key, getattr(info, key))
            archive.filelist.append(other)
        archive._didModify = True
    assert read(path) == ({}, {str(path): "archive_bomb"})


def test_many_members_of_a_compressed_tar_are_read_in_linear_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_tar(tmp_path / "a.tgz", {f"{number}.png": png(number % 256) for number in range(100)}, "w:gz")
    calls = []
    original = archives.opening.decompress
    monkeypatch.setattr(archives.opening, "decompress", lambda *args: calls.append(1) or original(*args))
    found, _ = read(path)
    assert len(found) == 100
    assert len(calls) == 1


def test_files_that_are_no_images_are_left_out_of_folders_and_archives_and_named(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    members = {"1.png": png(1), "notes.txt": b"text", "report.pdf": b"%PDF-1.4", "broken.png": b"damaged"}
    for name, data in members.items():
        (folder / name).write_bytes(data)
    for source in (folder, write_zip(tmp_path / "a.zip", members), write_tar(tmp_path / "a.tar", members)):
        found, failed = read(source)
        assert list(found.values()) == [1]
        assert [name.rpartition("/")[2].rpartition("=")[2] for name in failed] == ["broken.png"]
        others: list[str] = []
        list(studies.read(source, failed=lambda *_: None, others=others.append))
        assert len(others) == 2
