"""A bundle: the folder a ready model lives in, opened and checked. It needs no network and no PyTorch."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path

from medimageinsight.bundle.manifest import FileEntry, Manifest
from medimageinsight.errors import BundleError

IMAGE_ENCODER = "image_encoder.onnx"
TEXT_ENCODER = "text_encoder.onnx"
TOKENIZER = "tokenizer.json"
PARITY = "parity.json"
MODEL_CARD = "MODEL_CARD.md"
# Between these lines a model card keeps its evaluation.
EVALUATION_BEGIN, EVALUATION_END = "<!-- evaluation:begin -->", "<!-- evaluation:end -->"
EXTERNAL_DATA_SUFFIX = ".data"  # large weights lie beside their graph, to be memory-mapped


def half_graph(graph: str) -> str:
    """Name of the graph with float16 arithmetic beside a graph whose weights alone are float16."""
    return graph.removesuffix(".onnx") + ".half.onnx"


REQUIRED_FILES = (IMAGE_ENCODER, TEXT_ENCODER, TOKENIZER)


class Bundle:
    """An opened bundle folder.

    Opening reads the manifest and compares sizes, which costs nothing; contents are hashed by `verify`, each file when
    it is about to be used, so that a model that only sees images never pays for its text encoder.

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
        """Where a file of the manifest lies.

        Raises:
            BundleError: The manifest has no such file (``bundle_invalid``).
        """
        if name not in self.manifest.files:
            raise BundleError(f"the bundle has no file {name}: make the bundle again")
        return self.folder / name

    def verify(self, *names: str) -> None:
        """Compare the SHA-256 of the named files, all files if none is named, with the manifest.

        A graph's external data belongs to the graph. A file that has been found right is not read again by this object.

        Raises:
            BundleError: A file's content has changed (``bundle_checksum``); the message names the file.
        """
        with self._lock:
            for name in self._with_external_data(names or tuple(self.manifest.files)):
                if name not in self._verified:
                    self._check_content(name)
                    self._verified.add(name)

    def _with_external_data(self, names: tuple[str, ...]) -> list[str]:
        data = [name + EXTERNAL_DATA_SUFFIX for name in names]
        return [*names, *(name for name in data if name in self.manifest.files and name not in names)]

    def _check_content(self, name: str) -> None:
        path, entry = self.path(name), self.manifest.files[name]
        _check_size(path, name, entry)
        if sha256_of(path) != entry.sha256:
            raise _changed(name, "its SHA-256 is another")


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file's content, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def describe_file(path: Path) -> FileEntry:
    """Size and checksum of a file, as a manifest keeps them."""
    return FileEntry(bytes=path.stat().st_size, sha256=sha256_of(path))


def _check_size(path: Path, name: str, entry: FileEntry) -> None:
    # A link could lead anywhere, so what the manifest names has to be the file itself.
    if path.is_symlink() or not path.is_file():
        raise _changed(name, "it is missing or not a plain file")
    if (size := path.stat().st_size) != entry.bytes:
        raise _changed(name, f"expected {entry.bytes:,} bytes, got {size:,}")


def _changed(name: str, what: str) -> BundleError:
    return BundleError(
        f"{name} is not the file this bundle was made with ({what}): copy or make the bundle again",
        code="bundle_checksum",
    )
