"""Warnings are suppressed for the calling thread only."""

from __future__ import annotations

import logging
import threading
import warnings
from typing import TYPE_CHECKING

from medimageinsight.images.decoder_warnings import suppress_decoder_warnings

if TYPE_CHECKING:
    import pytest


def test_only_the_thread_inside_suppresses_warnings() -> None:
    inside, done = threading.Event(), threading.Event()

    def suppress() -> None:
        with suppress_decoder_warnings():
            inside.set()
            done.wait(10)
            warnings.warn("suppressed", stacklevel=1)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        thread = threading.Thread(target=suppress)
        thread.start()
        inside.wait(10)
        warnings.warn("reported", stacklevel=1)
        done.set()
        thread.join()
        assert [str(warning.message) for warning in caught] == ["reported"]


def test_the_log_of_pydicom_is_suppressed_inside_only(caplog: pytest.LogCaptureFixture) -> None:
    with suppress_decoder_warnings():
        logging.getLogger("pydicom").warning("a patient's name")
    logging.getLogger("pydicom").warning("outside")
    assert caplog.messages == ["outside"]
