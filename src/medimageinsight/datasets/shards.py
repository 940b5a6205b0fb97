"""Webdataset shards: tar files whose members of one name belong together, as ``0001.jpg`` and ``0001.json``.

Shards come from elsewhere and are not trusted: nothing is unpacked, links and special files are refused, sizes are
checked before anything is read, and a shard that ends too early is told from one that is whole. Only plain tars are
read, as a compressed one has no positions; the pictures in it are compressed anyway.
"""

from __future__ import annotations

import io
import tarfile
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, BinaryIO

from medimageinsight.datasets.problems import Problems
from medimageinsight.datasets.sample import Piece, Sample, Table
from medimageinsight.datasets.table import CAPTION_PARTS
from medimageinsight.datasets.texts import OPTIONAL, ClassNames, Text, read_text
from medimageinsight.files import strict

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PICTURES = frozenset(("jpg", "jpeg", "png", "dcm", "tif", "tiff", "bmp", "gif", "webp", "jp2", "pgm", "ppm"))
TEXTS = frozenset(("json", "txt", "cls"))
MAX_PICTURE_BYTES = 1 << 30
MAX_TEXT_BYTES = 1 << 20
MAX_MEMBERS = 1000  # of one name
_MAX_HEADER_BYTES = 1 << 20
_BLOCK = tarfile.BLOCKSIZE
_TAR_ERRORS = (tarfile.TarError, OSError, ValueError, OverflowError, EOFError, RecursionError)


def read_shards(
    shards: Sequence[str | Path],
    *,
    split: str = "",
    root: str | Path | None = None,
    problems: Problems | None = None,
    classes: ClassNames | None = None,
) -> Table:
    """Reads the texts of all shards and where their pictures are; the pictures stay in the tars.

        read_shards(sorted(Path("shards").glob("train-*.tar")), split="train")

    A sample is a picture and one or more of: ``json`` (a caption as ``caption``, a ``label``, other fields of `Sample`,
    or a text of the original's as in `read_tsv`), ``txt`` (its caption), ``cls`` (its label: a name or a number). Its
    name ends at the first dot that no number follows.

    Args:
        shards: Uncompressed tars.
        split: Of all samples that do not say their own.
        root: The folder that messages name shards below; the first shard's own when not given.
        problems: Collects what is wrong, and the good samples are returned.
        classes: Ids and names of files that were read before, which must agree with these.

    Raises:
        DatasetProblems: Shards cannot be used, and ``problems`` was not given.
    """
    found = Problems() if problems is None else problems
    paths = [Path(shard) for shard in shards]
    folder = Path(root) if root is not None else paths[0].parent if paths else Path()
    if not paths:
        found.add("file_missing", "shards", "none")
    reader = ShardReader(folder, found, split=split, classes=classes)
    samples: list[Sample] = []
    seen: set[tuple[str, str]] = set()
    for path in paths:
        for _, sample in reader.read(path):
            if (sample.source, sample.id) in seen:
                found.add("id_duplicate", reader.place(path, sample.id))
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
    start: int  # where the first member's header is
    picture: Piece | None = None
    texts: dict[str, bytes] = field(default_factory=dict)
    refused: bool = False
    looks_used: bool = False  # by the end of a name that is not taken
    members: int = 0


class ShardReader:
    """Reads shards one sample at a time; notes what is wrong with them."""

    def __init__(self, root: Path, problems: Problems, *, split: str = "", classes: ClassNames | None = None) -> None:
        self.root, self.problems, self.split = root, problems, split
        self.classes = ClassNames(problems, after=classes)

    def place(self, path: Path, key: str = "") -> str:
        """Names a shard, or a sample in it."""
        name = path.relative_to(self.root).as_posix() if path.is_relative_to(self.root) else path.name
        return f"{name}: {key}" if key else name

    def read(self, path: Path, start: int = 0) -> Iterator[tuple[int, Sample]]:
        """The samples of a shard, from the one whose first header is at byte ``start``, each with that byte."""
        for group in self._groups(path, start):
            sample = None if group.refused else self._sample(path, group)
            if sample is not None:
                yield group.start, sample

    def _groups(self, path: Path, start: int) -> Iterator[_Group]:
        group: _Group | None = None
        try:
            with path.open("rb") as file, _open_tar(file, start) as tar:
                while (member := tar.next()) is not None:
                    tar.members.clear()  # type: ignore[attr-defined] # else every header of a shard is kept
                    key, extension = _split_name(member.name)
                    if group is None or key != group.key:
                        if group is not None:
                            yield group
                        group = _Group(key, member.offset)
                    self._take(path, group, member, extension, file)
                damage = _rest(file, tar.offset)
        except FileNotFoundError:
            self.problems.add("file_missing", self.place(path))
            return
        except _TAR_ERRORS as error:
            damage = "compressed: unpack it to a plain tar" if _compressed(path) else type(error).__name__
        if damage:
            self.problems.add("shard_invalid", self.place(path), damage)
        elif group is not None:  # of a damaged shard the last sample may lack members
            yield group

    def _take(self, path: Path, group: _Group, member: tarfile.TarInfo, extension: str, file: BinaryIO) -> None:
        """Adds a member to its sample, or refuses it and the sample with it."""
        if member.isdir():
            return
        group.members += 1
        fault = _fault(member, extension, group)
        if fault:
            self.problems.add("member_refused", self.place(path, PurePosixPath(member.name).name[:80]), fault)
            group.refused = True
        elif extension in PICTURES:
            group.picture = Piece(offset=member.offset_data, size=member.size)
        elif extension in TEXTS:
            here = file.tell()
            file.seek(member.offset_data)
            group.texts[extension] = file.read(member.size)
            file.seek(here)
        elif extension.rpartition(".")[2] in PICTURES | TEXTS:
            group.looks_used = True

    def _sample(self, path: Path, group: _Group) -> Sample | None:
        place = self.place(path, group.key)
        if group.picture is None:
            if group.texts or group.looks_used:
                self.problems.add("rows_unpaired", place, "no picture; a sample's name ends at its first dot")
            return None
        try:
            texts = {extension: data.decode("utf-8-sig") for extension, data in group.texts.items()}
            data = strict.load_json(texts["json"]) if "json" in texts else {}
        except (ValueError, RecursionError):
            self.problems.add("json_invalid", place, "not JSON in UTF-8")
            return None
        text = self._text(data, texts, place)
        if text is None:
            return None
        others = dict(text.others)
        split = others.pop("split", self.split)
        return Sample(
            path=path,
            piece=group.picture,
            id=group.key,
            caption=text.caption,
            label=text.label,
            source=text.source,
            split=split,
            **others,
        )

    def _text(self, data: object, texts: dict[str, str], place: str) -> Text | None:
        if not isinstance(data, dict) or "class_name" in data or "captions" in data:
            return read_text(data, place, self.classes)
        fields = {
            name: str(data[name]).strip()
            for name in (*OPTIONAL, "caption", "label", "source", "split")
            if isinstance(data.get(name), str | int) and str(data[name]).strip()
        }
        caption = texts.get("txt", "").strip() or fields.pop("caption", "")
        label = texts.get("cls", "").strip() or fields.pop("label", "")
        caption = caption or " ".join(fields[part] for part in CAPTION_PARTS if part in fields)
        if not caption:
            self.problems.add("caption_empty", place)
            return None
        fields.pop("caption", None)
        fields.pop("label", None)
        return Text(caption=caption, label=label, source=fields.pop("source", ""), others=fields)


class _Bounded(io.BufferedIOBase):
    """A file of which no header may be long: tarfile reads a header's extension whole, whatever size it claims."""

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


@contextmanager
def _open_tar(file: BinaryIO, start: int) -> Iterator[tarfile.TarFile]:
    file.seek(start)
    with tarfile.open(fileobj=_Bounded(file), mode="r:", errorlevel=2) as tar:
        yield tar


def _split_name(name: str) -> tuple[str, str]:
    """``a/0001.seg.png`` is of sample ``a/0001`` and has the extension ``seg.png``.

    Numbers stay in the name: ``1.2.840.10008.dcm`` is of the sample that the UID names.
    """
    folder, slash, base = name.rpartition("/")
    parts = base.split(".")
    own = 1
    while own < len(parts) and parts[own].isdecimal():
        own += 1
    return f"{folder}{slash}{'.'.join(parts[:own])}", ".".join(parts[own:]).lower()


def _fault(member: tarfile.TarInfo, extension: str, group: _Group) -> str:
    """Why a member is not taken, or the empty string."""
    parts = PurePosixPath(member.name).parts
    limit = MAX_PICTURE_BYTES if extension in PICTURES else MAX_TEXT_BYTES if extension in TEXTS else None
    if not member.isreg() or member.issparse():
        return "not a plain file"
    if member.name.startswith("/") or "\\" in member.name or ".." in parts:
        return "a path out of the shard"
    if limit is not None and member.size > limit:
        return f"more than {limit:,} bytes"
    if group.members > MAX_MEMBERS:
        return f"more than {MAX_MEMBERS} members of one name"
    again = group.picture is not None if extension in PICTURES else extension in group.texts
    return "a second one of its kind" if again else ""


def _rest(file: BinaryIO, offset: int) -> str:
    """What is wrong where the members end: tarfile takes any block that is no header for the end of the archive."""
    file.seek(offset)
    block = file.read(_BLOCK)
    if not block:
        return "no mark of an end: it was cut off"
    return "no header where one should be" if block.strip(b"\0") else ""


def _compressed(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(4)[:2] in (b"\x1f\x8b", b"BZ") or path.suffix in (".gz", ".zst", ".xz", ".bz2")
    except OSError:  # a folder, or not ours to read: the shard's own error says so
        return False
