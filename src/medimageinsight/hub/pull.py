"""From a hub to a bundle: download, convert with its verification, and remove the checkpoint if wanted."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from medimageinsight.bundle import home
from medimageinsight.export import check_conversion, convert
from medimageinsight.hub.download import download_release, remove_download
from medimageinsight.hub.hub_errors import no_space
from medimageinsight.hub.release import PUBLIC_RELEASE, Release

if TYPE_CHECKING:
    from medimageinsight.bundle import Bundle, Precision

Progress = Callable[[str, float], None]
DOWNLOAD_PART = 0.5  # of the duration, roughly


def pull(
    out: str | Path,
    *,
    release: Release = PUBLIC_RELEASE,
    checkpoint: str | Path | None = None,
    name: str | None = None,
    precision: Precision = "fp32",
    calibration: str | Path | None = None,
    overwrite: bool = False,
    delete_checkpoint: bool = False,
    progress: Progress | None = None,
) -> Bundle:
    """Download a release, convert it to a bundle and verify it, see `convert`.

    Args:
        out: The bundle's folder.
        release: What to download; its commit and the SHA-256 of each file are stored in the manifest's provenance.
        checkpoint: The folder for the downloaded files. Default: `default_checkpoint`. An interrupted download to it
            is continued, and files that are complete are not downloaded again.
        name: As for `convert`.
        precision: As for `convert`.
        calibration: As for `convert`.
        overwrite: Replace a bundle at `out`.
        delete_checkpoint: Remove the downloaded files when the bundle is written.
        progress: Called with the current stage and the part of everything that is done, 0 to 1.

    Raises:
        CheckpointError: The download failed, see `download_release`, or the checkpoint cannot be converted.
        MedImageInsightError: As for `convert`; what needs no weights is checked before the download.
    """
    report = progress or (lambda *_: None)
    out = Path(out).expanduser()
    folder = default_checkpoint(release) if checkpoint is None else Path(checkpoint).expanduser()
    check_conversion(out, precision=precision, calibration=calibration, overwrite=overwrite)
    report("listing the release", 0.0)
    download = download_release(
        release,
        folder,
        reserve=lambda download, checkpoint: _check_space(folder, out, download, checkpoint),
        progress=lambda file, done, total: report(_stage(file, done, total), DOWNLOAD_PART * done / max(total, 1)),
    )
    bundle = convert(
        folder,
        out,
        name=name,
        precision=precision,
        calibration=calibration,
        overwrite=overwrite,
        provenance={"download": download.provenance()},
        progress=lambda stage, part: report(stage, DOWNLOAD_PART + (1 - DOWNLOAD_PART) * part),
    )
    if delete_checkpoint:
        remove_download(download, folder)
    return bundle


def default_checkpoint(release: Release = PUBLIC_RELEASE) -> Path:
    """Return the folder of a release's files, below ``MI2_HOME/checkpoints``."""
    return home() / "checkpoints" / release.repository.replace("/", "--") / release.folder


def _stage(file: str, done: int, total: int) -> str:
    return f"downloading {Path(file).name}: {done / 1e6:,.0f} of {total / 1e6:,.0f} MB"


def _check_space(folder: Path, out: Path, download: int, checkpoint: int) -> None:
    """Refuse a disk without space for the bundle, which is about as large as the checkpoint."""
    parent = next(path for path in out.absolute().parents if path.exists())
    wanted = checkpoint + (download if parent.stat().st_dev == folder.stat().st_dev else 0)
    if (free := shutil.disk_usage(parent).free) < wanted:
        raise no_space(f"{wanted / 1e9:,.2f} GB of checkpoint and bundle ({free / 1e9:,.2f} GB are free)")
