"""A bundle: the folder of a ready model, opened and checked. It needs no network access and no PyTorch."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path

from medimageinsight.bundle.manifest import FileEntry, Manifest
from medimageinsight.errors import BundleError
from medimageinsight.files.lfs import is_lfs_pointer

IMAGE_ENCODER = "image_encoder.onnx"
TEXT_ENCODER = "text_encoder.onnx"
TOKENIZER = "tokenizer.json"
PARITY = "parity.json"
MODEL_CARD = "MODEL_CARD.md"
REQUIRED_FILES = (IMAGE_ENCODER, TEXT_ENCODER, TOKENIZER)
EXTERNAL_DATA_SUFFIX = ".data"  # of the file with a graph's large weights, in the same folder, to be memory-mapped
# The evaluation section of a model card is between these lines.
EVALUATION_BEGIN, EVALUATION_END = "<!-- evaluation:begin -->", "<!-- evaluation:end -->"


def half_graph(graph: str) -> str:
    """Return the name of the graph with float16 arithmetic that belongs to a graph with float16 weights alone."""
    return graph.removesuffix(".onnx") + ".half.onnx"


class Bundle:
    """An opened bundle folder.

    Opening reads the manifest and compares sizes, which is cheap. `verify` hashes contents, each file before it is
    used: a model that only sees images never reads its text encoder.

    ::

        bundle = Bundle.open(find("mini"))
        bundle.verify(IMAGE_ENCODER)
        session = InferenceSession(bundle.path(IMAGE_ENCODER))
    """

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder = folder
        self.manifest = manifest
        self._verified: set[str] = set()
        self._lock = threading.Lock()

    @classmethod
    def open(cls, folder: str | Path) -> Bundle:
        """Open a bundle folder.

        Raises:
            BundleError: There is no bundle (``bundle_not_found``), its manifest is newer (``bundle_too_new``) or wrong
                (``bundle_invalid``), or a file is missing, a link, or of another size (``bundle_checksum``).
        """
        folder = Path(folder)
        manifest = Manifest.load(folder)
        for name in REQUIRED_FILES:
            if name not in manifest.files:
                raise BundleError(f"manifest.json.files: expected {name}, it is missing: make the bundle again")
        for name, entry in manifest.files.items():
            _check_size(folder / name, name, entry)
        return cls(folder, manifest)

    def path(self, name: str) -> Path:
        """Return the path of a file of the manifest.

        Raises:
            BundleError: The manifest has no such file (``bundle_invalid``).
        """
        if name not in self.manifest.files:
            raise BundleError(f"the bundle has no file {name}: make the bundle again")
        return self.folder / name

    def verify(self, *names: str) -> None:
        """Compare the SHA-256 of the named files, or of all files, with the manifest.

        A graph includes its external data. A file found to be correct is not read again by this object.

        Raises:
            BundleError: A file's content has changed (``bundle_checksum``); the message names the file.
        """
        files = self.manifest.files
        data = [name + EXTERNAL_DATA_SUFFIX for name in names if name + EXTERNAL_DATA_SUFFIX in files]
        with self._lock:
            for name in [*names, *data] or files:
                if name in self._verified:
                    continue
                path, entry = self.path(name), files[name]
                _check_size(path, name, entry)
                if (found := sha256_of(path)) != entry.sha256:
                    raise _changed(name, f"expected SHA-256 {entry.sha256[:12]}..., got {found[:12]}...")
                self._verified.add(name)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's content in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def describe_file(path: Path) -> FileEntry:
    """Return the size and checksum of a file, as a manifest stores them."""
    return FileEntry(bytes=path.stat().st_size, sha256=sha256_of(path))


def _check_size(path: Path, name: str, entry: FileEntry) -> None:
    # A link could lead anywhere, so a name in the manifest has to be the file itself.
    if path.is_symlink() or not path.is_file():
        raise _changed(name, "it is missing or not a plain file")
    if (size := path.stat().st_size) != entry.bytes:
        if is_lfs_pointer(path):
            raise _changed(name, "it is a Git LFS pointer without the content: run git lfs pull, or download it")
        raise _changed(name, f"expected {entry.bytes:,} bytes, got {size:,}")


def _changed(name: str, reason: str) -> BundleError:
    return BundleError(
        f"{name} is not the file this bundle was made with ({reason}): copy or make the bundle again",
        code="bundle_checksum",
    )
