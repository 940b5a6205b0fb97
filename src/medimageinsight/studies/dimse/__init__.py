"""Receive images that a PACS sends (DIMSE C-STORE)."""

from __future__ import annotations

from medimageinsight.studies.dimse.receiver import Receiver, ReceiverSettings
from medimageinsight.studies.dimse.spool import ReceivedSeries

__all__ = ["ReceivedSeries", "Receiver", "ReceiverSettings"]
