"""Quiet is a matter of the calling thread alone."""

from __future__ import annotations

import logging
import threading
import warnings
from typing import TYPE_CHECKING

from medimageinsight.images.decoder_warnings import suppress_decoder_warnings

if TYPE_CHECKING:
    import pytest


def test_only_the_thread_inside_is_quiet() -> None:
    heard: list[str] = []
    inside, done = threading.Event(), threading.Event()

    def stay_quiet() -> None:
        with suppress_decoder_warnings():
            inside.set()
            done.wait(10)
            warnings.warn("unheard", stacklevel=1)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        thread = threading.Thread(target=stay_quiet)
        thread.start()
        inside.wait(10)
        warnings.warn("heard", stacklevel=1)
        done.set()
        thread.join()
        heard = [str(entry.message) for entry in caught]
    assert heard == ["heard"]


def test_the_log_of_pydicom_is_quiet_inside_only(caplog: pytest.LogCaptureFixture) -> None:
    with suppress_decoder_warnings():
        logging.getLogger("pydicom").warning("a patient's name")
    logging.getLogger("pydicom").warning("outside")
    assert caplog.messages == ["outside"]
