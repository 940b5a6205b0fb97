"""Weights from a hub of models (extra ``hub``): the public release is downloaded, checked and converted.

    from medimageinsight.hub import pull

    bundle = pull("models/medimageinsight")

Nothing else in this project downloads weights, and this does so only when it is called.
"""

from __future__ import annotations

from medimageinsight.hub.download import Download, download_release, remove_download
from medimageinsight.hub.pull import default_checkpoint, pull
from medimageinsight.hub.release import PUBLIC_RELEASE, Release, RemoteFile, list_release

__all__ = [
    "PUBLIC_RELEASE",
    "Download",
    "Release",
    "RemoteFile",
    "default_checkpoint",
    "download_release",
    "list_release",
    "pull",
    "remove_download",
]
