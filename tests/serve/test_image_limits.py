"""The settings that decide which images a server accepts."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from tests.images.dicom_datasets import PACKAGED
from tests.serve.server_process import b64, make_image, run_server

if TYPE_CHECKING:
    from pathlib import Path

    from tests.serve.server_process import ServerProcess

DOSE = (PACKAGED / "rtdose.dcm").read_bytes()


def test_maps_are_refused_by_default(server: ServerProcess) -> None:
    reply = server.score([b64(DOSE), None])
    assert (reply.status, reply.json["error"]["code"]) == (422, "image_is_map")


def test_a_server_may_accept_maps_and_bounds_the_memory_of_decoders(tmp_path: Path, toy_bundle: Path) -> None:
    deep = io.BytesIO()
    Image.fromarray(np.arange(400 * 400, dtype=np.uint16).reshape(400, 400)).save(deep, "PNG")
    options = ("--model", str(toy_bundle), "--accept-maps", "--max-decoded-bytes", "100000")
    with run_server(tmp_path, *options) as server:
        assert server.score([b64(DOSE), None]).status == 200
        assert server.score([b64(make_image()), None]).status == 200
        refused = server.score([b64(deep.getvalue()), None])
        assert (refused.status, refused.json["error"]["code"]) == (422, "image_too_large")
