"""ZIP archives, read in place: the central directory once, each member where it lies."""

from __future__ import annotations

import stat
import struct
import weakref
import zipfile
from typing import TYPE_CHECKING, BinaryIO, cast

from medimageinsight.errors import InputError
from medimageinsight.files.archive_errors import ARCHIVE_ERRORS
from medimageinsight.studies.archives.members import Archive, check_name, is_hidden, name_twice, not_a_file

if TYPE_CHECKING:
    from medimageinsight.images import Limits
    from medimageinsight.studies.archives.limits import ArchiveLimits

# APPNOTE 4.3.16, 4.3.15 and 4.3.14: the ends of a central directory.
_END, _LOCATOR_64, _END_64 = b"PK\x05\x06", b"PK\x06\x07", b"PK\x06\x06"
_END_BYTES, _LOCATOR_BYTES, _MAX_COMMENT = 22, 20, 0xFFFF
_ENTRY_BYTES = 1024  # of the central directory; an entry has 46 and its name
_ENCRYPTED = 0x1
ZIP_MAGIC = (b"PK\x03\x04", _END, b"PK\x07\x08")  # a member, an archive without any, a divided one
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2)


class ZipArchive(Archive):
    """A ZIP archive, including ZIP64."""

    def __init__(self, file: BinaryIO, limits: Limits, archive_limits: ArchiveLimits) -> None:
        weakref.finalize(self, file.close)
        size = _check_directory(file, archive_limits)
        try:
            self._zip = zipfile.ZipFile(file)
        except ARCHIVE_ERRORS:
            raise _damaged() from None
        weakref.finalize(self, self._zip.close)
        archive_limits.check_members(len(self._zip.filelist))
        self._members: dict[str, zipfile.ZipInfo] = {}
        self.problems: dict[str, InputError] = {}
        for info in self._zip.filelist:
            name = info.filename
            if info.is_dir() or is_hidden(name):
                continue
            try:
                _check(info, limits, archive_limits)
                if name in self._members:
                    self.problems[name] = name_twice()
                self._members[name] = info
            except InputError as error:
                self.problems[name] = error
        _check_all(self._zip.filelist, self.problems, size, archive_limits)
        self.sizes = {name: info.file_size for name, info in self._members.items()}

    def open(self, name: str) -> BinaryIO:
        """Return a file object of a member."""
        return cast("BinaryIO", self._zip.open(self._members[name]))


def _check(info: zipfile.ZipInfo, limits: Limits, archive_limits: ArchiveLimits) -> None:
    """Refuse a member that cannot be read, from its entry alone."""
    check_name(info.filename)
    mode = info.external_attr >> 16
    if info.create_system == 3 and stat.S_IFMT(mode) not in (0, stat.S_IFREG):  # 3: made on Unix
        raise not_a_file()
    if info.flag_bits & _ENCRYPTED:
        raise _encrypted("member")
    if info.compress_type not in _METHODS:
        raise InputError(
            f"expected a member that is stored, deflated or in bzip2, got compression method {info.compress_type}: "
            "make the archive again",
            code="archive_method_unsupported",
        )
    limits.check_bytes(info.file_size)
    archive_limits.check_size(info.file_size, info.compress_size)


def _check_all(
    members: list[zipfile.ZipInfo], problems: dict[str, InputError], size: int, limits: ArchiveLimits
) -> None:
    """Refuse an archive as a whole: encrypted, too large, or with members that overlap."""
    files = [info for info in members if not info.is_dir() and not is_hidden(info.filename)]
    if files and all(info.flag_bits & _ENCRYPTED for info in files):
        raise _encrypted("archive")
    readable = [info for info in files if info.filename not in problems]
    limits.check_size(sum(info.file_size for info in readable), size)
    if sum(info.compress_size for info in readable) > size:
        raise InputError(
            "expected members that share no data, got some that overlap, as of an archive made to exhaust a machine",
            code="archive_bomb",
        )


def _encrypted(what: str) -> InputError:
    return InputError(
        f"expected {'an archive' if what == 'archive' else 'a member'} without a password, got an encrypted one: "
        "extract it with its password and name the folder",
        code="archive_encrypted",
    )


def _check_directory(file: BinaryIO, limits: ArchiveLimits) -> int:
    """Refuse a central directory that would not fit in memory, before it is read; return the archive's size."""
    size = file.seek(0, 2)
    start = file.seek(max(0, size - _END_BYTES - _MAX_COMMENT - _LOCATOR_BYTES))
    tail = file.read()
    end = tail.rfind(_END)
    if end < 0 or len(tail) - end < _END_BYTES:
        raise _damaged()
    count, directory_bytes = struct.unpack_from("<HL", tail, end + 10)
    if tail[max(0, end - _LOCATOR_BYTES) : end].startswith(_LOCATOR_64):
        (offset,) = struct.unpack_from("<Q", tail, end - _LOCATOR_BYTES + 8)
        file.seek(min(offset, start + end))
        record = file.read(56)
        if len(record) == 56 and record.startswith(_END_64):
            count, directory_bytes = struct.unpack_from("<QQ", record, 32)
    limits.check_members(count)
    if directory_bytes > limits.max_members * _ENTRY_BYTES:
        limits.check_members(directory_bytes // 46)
    file.seek(0)
    return size


def _damaged() -> InputError:
    return InputError(
        "expected a whole ZIP archive, got one that is cut off or damaged: copy it again", code="archive_damaged"
    )
