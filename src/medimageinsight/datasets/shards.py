"""Webdataset shards: tar files whose members of one name form a sample, as ``0001.jpg`` and ``0001.json``.

Shards come from elsewhere and are not trusted: nothing is unpacked, links and special files are refused, sizes are
checked before anything is read, and a truncated shard is detected. Only plain tars are read, since a compressed one
has no positions; the images in it are compressed anyway.
"""

from __future__ import annotations

import io
import tarfile
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, BinaryIO

from medimageinsight.datasets.captions import OPTIONAL_FIELDS, ClassNames, parse_caption_row, parse_fields
from medimageinsight.datasets.problems import Problems
from medimageinsight.datasets.sample import ByteRange, Sample, Table, relative_name
from medimageinsight.datasets.table import CAPTION_PARTS
from medimageinsight.files.json import load_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

IMAGE_EXTENSIONS = frozenset(("jpg", "jpeg", "png", "dcm", "tif", "tiff", "bmp", "gif", "webp", "jp2", "pgm", "ppm"))
TEXT_EXTENSIONS = frozenset(("json", "txt", "cls"))
MAX_IMAGE_BYTES = 1 << 30
MAX_TEXT_BYTES = 1 << 20
MAX_MEMBERS = 1000  # of one name
_MAX_HEADER_BYTES = 1 << 20
_TAR_ERRORS = (tarfile.TarError, OSError, ValueError, OverflowError, EOFError, RecursionError)


def read_shards(
    shards: Sequence[str | Path],
    *,
    split: str = "",
    root: str | Path | None = None,
    problems: Problems | None = None,
    classes: ClassNames | None = None,
) -> Table:
    """Read the texts of all shards and the positions of their images; the images stay in the tars.

        read_shards(sorted(Path("shards").glob("train-*.tar")), split="train")

    A sample is an image and one or more of: ``json`` (a caption as ``caption``, a ``label``, other fields of `Sample`,
    or a text of the original format as in `read_tsv`), ``txt`` (its caption), ``cls`` (its label: a name or a number).
    A sample's name ends at the first dot that no number follows.

    Args:
        shards: Uncompressed tars.
        split: The split of samples without one of their own.
        root: The folder that shard names in messages are relative to; the first shard's folder by default.
        problems: Collects the problems; the valid samples are returned.
        classes: Class ids and names of files read before, which must agree with these.

    Raises:
        DatasetProblems: Shards cannot be used, and ``problems`` was not given.
    """
    found = Problems() if problems is None else problems
    paths = [Path(shard) for shard in shards]
    folder = Path(root) if root is not None else paths[0].parent if paths else Path()
    if not paths:
        found.add("file_missing", "shards", "none")
    reader = _ShardReader(folder, split, found, ClassNames(found, after=classes))
    samples: list[Sample] = []
    seen: set[tuple[str, str]] = set()
    for path in paths:
        for sample in reader.read(path):
            if (sample.source, sample.id) in seen:
                found.add("id_duplicate", reader.location(path, sample.id))
                continue
            seen.add((sample.source, sample.id))
            samples.append(sample)
    if problems is None:
        found.raise_any()
    return Table(samples=tuple(samples), root=folder)


@dataclass(slots=True)
class _Group:
    """The members of one sample."""

    key: str
    image: ByteRange | None = None
    texts: dict[str, bytes] = field(default_factory=dict)
    is_refused: bool = False
    has_unused_image_or_text: bool = False  # as seg.png in 0001.seg.png
    members: int = 0


@dataclass(frozen=True, slots=True)
class _ShardReader:
    """Read the samples of shards and add their problems."""

    root: Path
    split: str
    problems: Problems
    classes: ClassNames

    def location(self, path: Path, key: str = "") -> str:
        """Return the name of a shard, or of a sample in it, for messages."""
        name = relative_name(path, self.root)
        return f"{name}: {key}" if key else name

    def read(self, path: Path) -> Iterator[Sample]:
        """Yield the samples of a shard."""
        for group in self._read_groups(path):
            if not group.is_refused and (sample := self._make_sample(path, group)) is not None:
                yield sample

    def _read_groups(self, path: Path) -> Iterator[_Group]:
        group: _Group | None = None
        try:
            with (
                path.open("rb") as file,
                tarfile.open(fileobj=_BoundedFile(file), mode="r:", errorlevel=2) as tar,
            ):
                while (member := tar.next()) is not None:
                    tar.members.clear()  # type: ignore[attr-defined] # else every header of a shard stays in memory
                    key, extension = _split_name(member.name)
                    if group is None or key != group.key:
                        if group is not None:
                            yield group
                        group = _Group(key)
                    self._add_member(path, group, member, extension, file)
                damage = _check_end(file, tar.offset)
        except FileNotFoundError:
            self.problems.add("file_missing", self.location(path))
            return
        except _TAR_ERRORS as error:
            damage = "compressed: unpack it to a plain tar" if _is_compressed(path) else type(error).__name__
        if damage:
            self.problems.add("shard_invalid", self.location(path), damage)
        elif group is not None:  # the last sample of a damaged shard may lack members
            yield group

    def _add_member(self, path: Path, group: _Group, member: tarfile.TarInfo, extension: str, file: BinaryIO) -> None:
        """Add a member to its sample, or refuse it and the sample with it."""
        if member.isdir():
            return
        group.members += 1
        reason = _refusal_reason(member, extension, group)
        if reason:
            self.problems.add("member_refused", self.location(path, PurePosixPath(member.name).name[:80]), reason)
            group.is_refused = True
        elif extension in IMAGE_EXTENSIONS:
            group.image = ByteRange(offset=member.offset_data, size=member.size)
        elif extension in TEXT_EXTENSIONS:
            position = file.tell()
            file.seek(member.offset_data)
            group.texts[extension] = file.read(member.size)
            file.seek(position)
        elif extension.rpartition(".")[2] in IMAGE_EXTENSIONS | TEXT_EXTENSIONS:
            group.has_unused_image_or_text = True

    def _make_sample(self, path: Path, group: _Group) -> Sample | None:
        location = self.location(path, group.key)
        if group.image is None:
            if group.texts or group.has_unused_image_or_text:
                self.problems.add("rows_unpaired", location, "no image; a sample's name ends at its first dot")
            return None
        try:
            texts = {extension: data.decode("utf-8-sig") for extension, data in group.texts.items()}
            data = load_json(texts["json"]) if "json" in texts else {}
        except (ValueError, RecursionError):
            self.problems.add("json_invalid", location, "not JSON in UTF-8")
            return None
        fields = self._parse_texts(data, texts, location)
        if fields is None:
            return None
        return Sample(path=path, byte_range=group.image, id=group.key, **{"split": self.split, **fields})

    def _parse_texts(self, data: object, texts: dict[str, str], location: str) -> dict[str, str] | None:
        """Return fields of `Sample`, or None after adding a problem."""
        if not isinstance(data, dict) or "class_name" in data or "captions" in data:
            return parse_caption_row(data, location, self.classes)
        fields, problem = parse_fields(data, (*OPTIONAL_FIELDS, "caption", "label", "source", "split"))
        if problem:
            self.problems.add("json_invalid", location, problem)
            return None
        parts = " ".join(fields[part] for part in CAPTION_PARTS if part in fields)
        caption = texts.get("txt", "").strip() or fields.get("caption") or parts
        if not caption:
            self.problems.add("caption_empty", location)
            return None
        label = texts.get("cls", "").strip() or fields.get("label", "")
        return {**fields, "caption": caption, "label": label}


class _BoundedFile(io.BufferedIOBase):
    """A file that refuses long headers: tarfile reads a header's extension completely, whatever size it claims."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or size < 0 or size > _MAX_HEADER_BYTES:
            raise tarfile.ReadError("a header of more than 1 MiB")
        return self._file.read(size)

    def seek(self, offset: int, whence: int = 0, /) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()


def _split_name(name: str) -> tuple[str, str]:
    """Return the sample's name and the extension: ``a/0001`` and ``seg.png`` of ``a/0001.seg.png``.

    Numbers belong to the name: ``1.2.840.10008.dcm`` is of the sample named by the UID.
    """
    folder, slash, base = name.rpartition("/")
    parts = base.split(".")
    end = 1
    while end < len(parts) and parts[end].isdecimal():
        end += 1
    return f"{folder}{slash}{'.'.join(parts[:end])}", ".".join(parts[end:]).lower()


def _refusal_reason(member: tarfile.TarInfo, extension: str, group: _Group) -> str:
    """Return why a member is refused, or the empty string."""
    is_image = extension in IMAGE_EXTENSIONS
    limit = MAX_IMAGE_BYTES if is_image else MAX_TEXT_BYTES if extension in TEXT_EXTENSIONS else None
    if not member.isreg() or member.issparse():
        return "not a regular file"
    if member.name.startswith("/") or "\\" in member.name or ".." in PurePosixPath(member.name).parts:
        return "a path out of the shard"
    if limit is not None and member.size > limit:
        return f"more than {limit:,} bytes"
    if group.members > MAX_MEMBERS:
        return f"more than {MAX_MEMBERS} members of one name"
    is_second = group.image is not None if is_image else extension in group.texts
    return "a second member of its kind" if is_second else ""


def _check_end(file: BinaryIO, offset: int) -> str:
    """Return what is wrong at the end of the members: tarfile takes any block that is not a header for the end."""
    file.seek(offset)
    block = file.read(tarfile.BLOCKSIZE)
    if not block:
        return "no end marker: the file is truncated"
    return "no header where one is expected" if block.strip(b"\0") else ""


def _is_compressed(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(4)[:2] in (b"\x1f\x8b", b"BZ") or path.suffix in (".gz", ".zst", ".xz", ".bz2")
    except OSError:  # a folder, or no permission: the error of reading the shard is reported
        return False
