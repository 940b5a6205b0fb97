"""Archives as folders of a study: ZIP and TAR, compressed or not, and single compressed files."""

from __future__ import annotations

from medimageinsight.studies.archives.inflate import InflatedFile
from medimageinsight.studies.archives.limits import ArchiveLimits
from medimageinsight.studies.archives.opening import is_archive, list_members, nested, open_member

__all__ = ["ArchiveLimits", "InflatedFile", "is_archive", "list_members", "nested", "open_member"]
