"""``mi2 heatmap``: the similarity of a slide's tiles to a text or an image, as an image and for QuPath."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medimageinsight.cli import output
from medimageinsight.cli.errors import error_context
from medimageinsight.cli.options import AsJson, Model, Preprocessing, check_output_file, load_model
from medimageinsight.cli.reading_options import SlidesOption
from medimageinsight.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from medimageinsight.api import MedImageInsight
    from medimageinsight.studies import Series


def heatmap(
    slide: Annotated[str, typer.Argument(metavar="SLIDE", help="A slide; of a DICOM slide, the folder of its series.")],
    text: Annotated[str | None, typer.Option(help="The text that tiles are compared with.")] = None,
    image: Annotated[str | None, typer.Option(metavar="FILE", help="Or the image.")] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="F.png", help="Write the slide with the scores as colours.")
    ] = None,
    geojson: Annotated[
        Path | None, typer.Option(metavar="F.geojson", help="Write the tiles with their scores, for QuPath.")
    ] = None,
    vectors: Annotated[
        Path | None,
        typer.Option(metavar="F", help="Vectors of the tiles by mi2 embed SLIDE --out F: nothing is embedded again."),
    ] = None,
    slides: SlidesOption = None,
    preprocessing: Preprocessing = None,
    model: Model = None,
    as_json: AsJson = False,
) -> None:
    """Show where a slide is similar to a text or an image: the cosine similarity of each tile with tissue.

    The colours of --out go from the lowest to the highest score of this slide; its legend states both. Import --geojson
    in QuPath by File, Import objects from file: each tile has the score as its measurement.
    """
    if (text is None) == (image is None):
        raise InputError("expected --text or --image, got both or neither: give one of them", code="query_invalid")
    outputs = [path for path in (out, geojson) if path is not None]
    if not outputs and not as_json:
        raise InputError("expected --out or --geojson, got neither: name a file to write", code="output_missing")
    for path in outputs:
        check_output_file(path)
    series = _read_slide(slide, slides)
    loaded = load_model(model, preprocessing)
    with error_context(image or ""):
        query = loaded.embed_texts(text) if text is not None else loaded.embed_images(image or "")
    indices, embeddings = _embed(loaded, series) if vectors is None else _read_vectors(loaded, series, vectors)
    _write(series, indices, embeddings @ query, text or "similarity", out, geojson, as_json=as_json)


def _read_slide(name: str, options: str | None) -> "Series":
    """Return the slide of a path, and print its warnings.

    Raises:
        InputError: ``slide_expected``, or as `studies.read`.
    """
    from medimageinsight import studies

    tiling = studies.SlideOptions() if options is None else studies.SlideOptions.parse(options)
    with error_context(name):
        found = [series for study in studies.read(name, slides=tiling) for series in study.series]
        if len(found) != 1 or found[0].kind != "slide":
            raise InputError(
                f"expected one slide, got {len(found)} series or an image of another kind: name a slide",
                code="slide_expected",
            )
    for warning in found[0].warnings:
        output.note(f"{name}: {warning.message}")
    return found[0]


def _embed(model: "MedImageInsight", series: "Series") -> "tuple[list[int], NDArray[np.float32]]":
    """Return the indices of the tiles that can be used, and their embeddings (N, D)."""
    import numpy as np

    with output.counting("embedding", len(series.images)) as progress:
        results = model.embed_images(series.images, errors="return", progress=progress)
    embedded = {index: result for index, result in enumerate(results) if not isinstance(result, InputError)}
    errors = [result for result in results if isinstance(result, InputError)]
    if not embedded:
        raise errors[0]
    if errors:
        output.note(f"{len(errors):,} of {len(results):,} tiles cannot be used: {errors[0].message}")
    return list(embedded), np.stack(list(embedded.values()))


def _read_vectors(model: "MedImageInsight", series: "Series", path: Path) -> "tuple[list[int], NDArray[np.float32]]":
    """Return the indices of the tiles that a file has vectors of, and these.

    Raises:
        InputError: Of another model, or of none of the tiles (``vectors_other_slide``).
    """
    from medimageinsight.datasets import read_vectors
    from medimageinsight.studies import Origin

    with error_context(path):
        stored = read_vectors(path)
        stored.check_model(model.identity)
        rows: dict[tuple[object, float | None], int] = {
            (origin.region, origin.microns_per_pixel): row
            for row, name in enumerate(stored.sources or ())
            if stored.succeeded[row] and (origin := Origin.parse(name)).region is not None
        }
        keys = [(image.origin.region, image.origin.microns_per_pixel) for image in series.images]
        used = [index for index, key in enumerate(keys) if key in rows]
        if not used:
            raise InputError(
                "expected vectors of the slide's tiles, got others: embed it with the same --slides",
                code="vectors_other_slide",
            )
    if len(used) < len(keys):
        output.note(f"{path}: has {len(used):,} of {len(keys):,} tiles")
    return used, stored.vectors[[rows[keys[index]] for index in used]]


def _write(
    series: "Series",
    indices: list[int],
    scores: "NDArray[np.float32]",
    name: str,
    out: Path | None,
    geojson: Path | None,
    *,
    as_json: bool,
) -> None:
    import numpy as np

    from medimageinsight import studies

    heat_map = studies.HeatMap.of(series, scores, indices=indices, name=name)
    with error_context(out, OSError):
        if out is not None:
            heat_map.save_png(out)
    with error_context(geojson, OSError):
        if geojson is not None:
            heat_map.save_geojson(geojson)
    low, high = output.numbers(np.sort(scores)[[0, -1]])
    if as_json:
        tiles = [
            {"source": str(series.images[index].origin), "similarity": number}
            for index, number in zip(indices, output.numbers(scores), strict=True)
        ]
        output.print_json({"lowest": low, "highest": high, "tiles": tiles})
        return
    best = series.images[indices[int(scores.argmax())]]
    output.results().print(
        f"{len(scores):,} tiles, similarity {low:.4f} to {high:.4f}; highest: {best.origin.fragment}"
    )
