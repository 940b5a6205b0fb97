"""Stored frames, slices and tiles are shown as themselves, and tiles within their slide."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

pytest.importorskip("fastapi", reason="the server needs the serve extra")
pytest.importorskip("lancedb", reason="stores need the search extra")
pytest.importorskip("tiffslide", reason="slides need the slides extra")

from PIL import Image

from medimageinsight import MedImageInsight, search, studies
from tests.serve.described import described
from tests.serve.server_process import run_server
from tests.serve.test_openapi import satisfies
from tests.studies.make_slides import stained, write_svs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.serve.server_process import ServerProcess

GREYS = (10, 120, 230)
TILE = (128, 256, 128, 128)


@pytest.fixture(scope="module")
def parts_server(
    toy: MedImageInsight, toy_bundle: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServerProcess]:
    """A server with a store of pages of a TIFF, a tile of a slide, and an item outside the folders."""
    folder = tmp_path_factory.mktemp("parts")
    shown = folder / "images"
    shown.mkdir()
    pages = [Image.new("L", (20, 20), grey) for grey in GREYS]
    pages[0].save(shown / "pages.tif", save_all=True, append_images=pages[1:])
    write_svs(shown / "slide.svs", stained())
    write_svs(folder / "outside.svs", stained())
    places = {f"page {number}": ("pages.tif", f"frame={number}") for number in range(len(GREYS))}
    places["tile"] = ("slide.svs", "region=" + ",".join(map(str, TILE)))
    places["outside"] = (str(folder / "outside.svs"), "region=0,0,64,64")
    vector = np.eye(toy.embedding_dim, dtype=np.float32)[0]
    with search.create_store(folder / "store", identity=search.Identity.of(toy)) as store:
        store.add(
            [
                search.Item(id=name, path=path, embedding=vector, metadata={"origin": fragment, "level": "image"})
                for name, (path, fragment) in places.items()
            ]
        )
    options = ("--model", str(toy_bundle), "--store", f"parts={folder / 'store'}", "--image-folders", str(shown))
    with run_server(folder, *options) as server:
        yield server


def get_image(server: ServerProcess, path: str, **query: Any) -> Image.Image:
    reply = server.get(path + "?" + "&".join(f"{name}={value}" for name, value in query.items()).replace(" ", "%20"))
    assert reply.status == 200, reply.body
    assert reply.headers["cache-control"] == "private, no-store"
    return Image.open(io.BytesIO(reply.body)).convert("RGB")


def test_each_page_of_a_file_is_shown_as_itself(parts_server: ServerProcess) -> None:
    for number, grey in enumerate(GREYS):
        image = get_image(parts_server, "/api/picture", store="parts", id=f"page {number}", size=16)
        assert image.getpixel((8, 8)) == (grey, grey, grey)


def test_a_tile_is_shown_within_its_slide(parts_server: ServerProcess, tmp_path: Path) -> None:
    described_slide = parts_server.get("/api/slide?store=parts&id=tile")
    assert described_slide.json == {"width": 1024, "height": 768, "microns_per_pixel": [0.5, 0.5], "region": list(TILE)}
    schema = described()["paths"]["/api/slide"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    assert satisfies(schema, described_slide.json)
    x, y, width, height = TILE
    region = {"x": x, "y": y, "width": width, "height": height, "size": 128}
    seen = get_image(parts_server, "/api/slide/region", store="parts", id="tile", **region)
    same = studies.read_region(write_svs(tmp_path / "same.svs", stained()), TILE, (128, 128))
    np.testing.assert_array_equal(np.asarray(seen), np.asarray(same))
    tile = get_image(parts_server, "/api/picture", store="parts", id="tile", size=128)
    np.testing.assert_array_equal(np.asarray(tile), np.asarray(seen))


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("/api/slide?store=parts&id=outside", 404, "picture_not_available"),
        ("/api/slide?store=parts&id=nowhere", 404, "ids_unknown"),
        ("/api/slide?store=parts&id=page%200", 404, "picture_not_available"),
        ("/api/slide?store=no&id=tile", 404, "store_not_found"),
        ("/api/slide/region?store=parts&id=outside&x=0&y=0&width=9&height=9", 404, "picture_not_available"),
        ("/api/slide/region?store=parts&id=tile&x=-1&y=0&width=9&height=9", 400, "request_invalid"),
        ("/api/slide/region?store=parts&id=tile&x=0&y=0&width=0&height=9", 400, "request_invalid"),
        ("/api/slide/region?store=parts&id=tile&x=0&y=0&width=9&height=9&size=99999", 400, "request_invalid"),
    ],
)
def test_errors(parts_server: ServerProcess, query: str, status: int, code: str) -> None:
    reply = parts_server.get(query)
    assert (reply.status, reply.json["error"]["code"]) == (status, code)
