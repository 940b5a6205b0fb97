"""``mi2 compare``: cosine similarity of images, texts or studies."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from medimageinsight.cli import output
from medimageinsight.cli.errors import error_context
from medimageinsight.cli.options import (
    AcceptMaps,
    AsJson,
    Model,
    Percentiles,
    Preprocessing,
    Window,
    choose_window,
    load_model,
)
from medimageinsight.cli.reading_options import ReadingOptions
from medimageinsight.cli.sources import STANDARD_INPUT
from medimageinsight.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from medimageinsight.api import MedImageInsight
    from medimageinsight.cli.source_list import SourceList

# A word with such an ending names a file, even if it does not exist.
_ENDINGS = (".dcm", ".dicom", ".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".gif", ".webp", ".jp2", ".ppm", ".pgm")
_HELP = "Image files, - for standard input; also texts, if one of the items is an image."


def compare(
    items: Annotated[list[str] | None, typer.Argument(metavar="A B ...", help=_HELP, show_default=False)] = None,
    prior: Annotated[
        list[str] | None, typer.Option(metavar="FILE...", help="Images of an earlier study; folders are searched.")
    ] = None,
    current: Annotated[
        list[str] | None, typer.Option(metavar="FILE...", help="Images of the later study; folders are searched.")
    ] = None,
    text: Annotated[list[str] | None, typer.Option(help="A text to compare with the items; repeatable.")] = None,
    reading: ReadingOptions = ReadingOptions(),  # noqa: B008 - frozen
    window: Window = None,
    percentiles: Percentiles = None,
    accept_maps: AcceptMaps = False,
    preprocessing: Preprocessing = None,
    model: Model = None,
    as_json: AsJson = False,
) -> None:
    """Print the cosine similarity, -1 to 1, of two images or texts, of all pairs of several, or of two studies.

    Studies: --prior FILE... --current FILE... The novelty of a current image is 1 minus its highest cosine similarity
    to a prior image.
    """
    from medimageinsight.cli.source_list import SourceList

    load = partial(load_model, model, preprocessing, window=choose_window(window, percentiles), accept_maps=accept_maps)
    if prior or current:
        if items or text or not (prior and current):
            given = {"items": items, "--text": text, "--prior": prior, "--current": current}
            names = " and ".join(name for name, value in given.items() if value)
            raise InputError(
                f"expected --prior and --current, or items to compare with each other, got {names}: give only those",
                code="compare_invalid",
            )
        _compare_studies(SourceList(prior, reading), SourceList(current, reading), load, as_json=as_json)
        return
    words = [*(items or []), *(text or [])]
    if len(words) < 2:
        raise InputError(
            f"expected two items or more, images or texts, got {len(words)}: name them, or give --prior and --current",
            code="compare_invalid",
        )
    are_images = [*_find_images(items or []), *(False for _ in text or [])]
    if not all(are_images):
        reading.check_comparable()
    loaded = load()
    words, embeddings = _embed(loaded, words, are_images, reading)
    similarity = loaded.similarity(embeddings, embeddings)
    if len(words) == 1:
        raise InputError(
            "expected two items or more, images or texts, got one image: name another", code="compare_invalid"
        )
    if len(words) > 2:
        _print_matrix(words, similarity, as_json=as_json)
    elif as_json:
        output.print_json({"similarity": output.numbers(similarity[0, 1:])[0]})
    else:
        output.results().print(f"similarity {float(similarity[0, 1]):.4f}")


def is_image(word: str) -> bool:
    """Return whether a word names an image: an existing file or folder, or a word that looks like a path."""
    from medimageinsight.cli.source_list import find_origin

    if word == STANDARD_INPUT or word.startswith("data:"):
        return True
    try:
        if Path(word).exists() or find_origin(word) is not None:
            return True
    except (OSError, ValueError):  # too long for a path, or with a null character: a text
        return False
    is_one_word = not any(character.isspace() for character in word)
    return word.lower().endswith(_ENDINGS) or (is_one_word and ("/" in word or "\\" in word))


def _find_images(items: list[str]) -> list[bool]:
    """Return which items are images; the others are texts, if at least one item is an image.

    Raises:
        InputError: ``compare_no_image``.
    """
    are_images = [is_image(item) for item in items]
    if items and not any(are_images):
        raise InputError(
            f"expected image files, got {len(items)} words that name no file: check their spelling, or give texts as "
            "--text 'x-ray chest'",
            code="compare_no_image",
        )
    return are_images


def _embed(
    model: "MedImageInsight", words: list[str], are_images: list[bool], reading: ReadingOptions
) -> "tuple[list[str], NDArray[np.float32]]":
    """Return the names of images and texts and their embeddings (N, D); the first invalid word ends the call."""
    import numpy as np

    from medimageinsight.cli.source_list import SourceList, embed_all_sources

    names, rows = [], []
    with output.counting("embedding", len(words), shown=len(words) > 2) as progress:
        for done, (word, as_image) in enumerate(zip(words, are_images, strict=True), start=1):
            if as_image:
                sources = SourceList([word], reading)
                rows.append(embed_all_sources(model, sources, progress_title=""))
                names += sources.names
                sources.print_used()
            else:
                with error_context(word):
                    rows.append(model.embed_texts([word]))
                names.append(word)
            progress(done)
    return names, np.concatenate(rows)


def _print_matrix(words: list[str], similarity: "NDArray[np.float32]", *, as_json: bool) -> None:
    if as_json:
        output.print_json({"items": words, "similarity": [output.numbers(row) for row in similarity]})
        return
    output.print_table(
        ("", "item", *(str(number) for number in range(1, len(words) + 1))),
        [
            (str(number), Text(output.printable(word)), *(f"{cosine:.3f}" for cosine in row))
            for number, (word, row) in enumerate(zip(words, similarity.tolist(), strict=True), start=1)
        ],
        title="cosine similarity",
    )


def _compare_studies(
    prior: "SourceList", current: "SourceList", load: "Callable[[], MedImageInsight]", *, as_json: bool
) -> None:
    from medimageinsight.cli.source_list import embed_all_sources
    from medimageinsight.tasks import compare_studies

    loaded = load()
    comparison = compare_studies(  # a failed image ends the call, since an incomplete study would mislead
        embed_all_sources(loaded, prior, progress_title="embedding the prior study"),
        embed_all_sources(loaded, current, progress_title="embedding the current study"),
    )
    for sources in (prior, current):
        sources.print_used()
    rows = [
        (source, prior.names[nearest], similarity, novelty)
        for source, nearest, similarity, novelty in zip(
            current.names,
            comparison.nearest.tolist(),
            output.numbers(comparison.pairs.max(axis=1)),
            output.numbers(comparison.novelty),
            strict=True,
        )
    ]
    if as_json:
        names = ("source", "nearest", "similarity", "novelty")
        output.print_json(
            {"similarity": comparison.similarity, "current": [dict(zip(names, row, strict=True)) for row in rows]}
        )
        return
    output.print_table(
        ("current image", "most similar prior image", "cosine", "novelty"),
        [
            (Text(output.printable(source)), Text(output.printable(nearest)), f"{cosine:.4f}", f"{novelty:.4f}")
            for source, nearest, cosine, novelty in rows
        ],
        title=f"the studies: similarity {comparison.similarity:.4f}",
    )
