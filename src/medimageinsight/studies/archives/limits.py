"""Bounds on archives, which may hold a thousand times their own size."""

from __future__ import annotations

from dataclasses import dataclass

from medimageinsight.errors import InputError


@dataclass(frozen=True, kw_only=True)
class ArchiveLimits:
    """Bounds on an archive, in addition to those of a single file, `Limits.max_bytes`.

    Args:
        max_members: Files and folders of one archive.
        max_total_bytes: Uncompressed bytes of all its members.
        max_ratio: Uncompressed bytes for each byte of the archive, where there are more than ``ratio_from_bytes``.
        ratio_from_bytes: Uncompressed bytes that are accepted at any ratio: an image of zeros is no attack.
    """

    max_members: int = 100_000
    max_total_bytes: int = 1 << 36
    max_ratio: int = 250
    ratio_from_bytes: int = 1 << 28

    def check_members(self, count: int) -> None:
        """Reject more members than ``max_members`` (``archive_too_large``)."""
        if count > self.max_members:
            raise InputError(
                f"expected an archive of at most {self.max_members:,} members, got at least {count:,}: divide it, or "
                "extract it and name the folder",
                code="archive_too_large",
            )

    def check_size(self, uncompressed: int, compressed: int) -> None:
        """Reject more uncompressed bytes than ``max_total_bytes`` (``archive_too_large``) or the ratio allow.

        Raises:
            InputError: ``archive_too_large``, or ``archive_bomb`` for the ratio.
        """
        if uncompressed > self.max_total_bytes:
            raise InputError(
                f"expected an archive of at most {self.max_total_bytes:,} uncompressed bytes, got at least "
                f"{uncompressed:,}: divide it, or extract it and name the folder",
                code="archive_too_large",
            )
        if uncompressed > self.ratio_from_bytes and uncompressed > self.max_ratio * compressed:
            raise InputError(
                f"expected data that expand to at most {self.max_ratio:,} times their size, got more, as of an archive "
                "made to exhaust a machine: extract it yourself if you trust it",
                code="archive_bomb",
            )
