"""``mi2 compare``: how alike images, texts or studies are."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from medimageinsight.cli import output
from medimageinsight.cli.errors import error_context
from medimageinsight.cli.options import AsJson, Model, Preprocessing, load_model
from medimageinsight.cli.sources import STANDARD_INPUT, list_sources, open_source
from medimageinsight.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from medimageinsight.api import MedImageInsight

# A word with one of these endings was meant as a file, also where there is none.
_ENDINGS = (".dcm", ".dicom", ".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".gif", ".webp", ".jp2", ".ppm", ".pgm")
_HELP = "Image files, - for standard input, or texts."


def compare(
    items: Annotated[list[str] | None, typer.Argument(metavar="A B ...", help=_HELP, show_default=False)] = None,
    prior: Annotated[
        list[str] | None, typer.Option(metavar="FILE...", help="Images of an earlier study; folders are searched.")
    ] = None,
    current: Annotated[
        list[str] | None, typer.Option(metavar="FILE...", help="Images of the study to compare with it.")
    ] = None,
    preprocessing: Preprocessing = None,
    model: Model = None,
    as_json: AsJson = False,
) -> None:
    """Print the cosine similarity, -1 to 1, of images and texts: of two, of each of several with each, or of studies.

    Studies: --prior FILE... --current FILE... A current image's novelty is 1 - cosine to the prior image it is most
    like.
    """
    if prior or current:
        if items or not (prior and current):
            raise InputError(
                "expected both --prior and --current, or items to compare with each other, got a part of both",
                code="compare_invalid",
            )
        _compare_studies(list_sources(prior), list_sources(current), model, preprocessing, as_json=as_json)
        return
    words = items or []
    if len(words) < 2:
        raise InputError(
            f"expected two items or more, images or texts, got {len(words)}: name them, or give --prior and --current",
            code="compare_invalid",
        )
    loaded = load_model(model, preprocessing)
    similarity = loaded.similarity(rows := _embed(loaded, words), rows)
    if len(words) > 2:
        _print_matrix(words, similarity, as_json=as_json)
    elif as_json:
        output.print_json({"similarity": output.numbers(similarity[0, 1:])[0]})
    else:
        output.results().print(f"similarity {float(similarity[0, 1]):.4f}")


def is_image(word: str) -> bool:
    """Whether a word names an image: a file that is there, or what can only be meant as one."""
    if word == STANDARD_INPUT or word.startswith("data:"):
        return True
    try:
        if Path(word).is_file():
            return True
    except (OSError, ValueError):  # too long for a path, or with a null character: a text
        return False
    is_one_word = not any(one.isspace() for one in word)
    return word.lower().endswith(_ENDINGS) or (is_one_word and ("/" in word or "\\" in word))


def _embed(model: "MedImageInsight", words: list[str]) -> "NDArray[np.float32]":
    """Embeddings (N, D) of images and texts; the first that cannot be used is named."""
    import numpy as np

    rows = []
    with output.counting("embedding", len(words), shown=len(words) > 2) as progress:
        for place, word in enumerate(words):
            with error_context(word):
                rows.append(model.embed_images(open_source(word)) if is_image(word) else model.embed_texts(word))
            progress(place + 1)
    return np.stack(rows)


def _print_matrix(words: list[str], similarity: "NDArray[np.float32]", *, as_json: bool) -> None:
    if as_json:
        output.print_json({"items": words, "similarity": [output.numbers(row) for row in similarity]})
        return
    output.print_table(
        ("", "item", *(str(place) for place in range(1, len(words) + 1))),
        [
            (str(place), Text(output.printable(word)), *(f"{one:.3f}" for one in row))
            for place, (word, row) in enumerate(zip(words, similarity.tolist(), strict=True), start=1)
        ],
        title="cosine similarity",
    )


def _compare_studies(
    prior: list[str], current: list[str], model: str | None, preprocessing: str | None, *, as_json: bool
) -> None:
    from medimageinsight.tasks.compare import compare_studies

    loaded = load_model(model, preprocessing)
    found = compare_studies(_embed_study(loaded, prior, "prior"), _embed_study(loaded, current, "current"))
    rows = [
        (source, prior[place], similarity, novelty)
        for source, place, similarity, novelty in zip(
            current,
            found.nearest.tolist(),
            output.numbers(found.pairs.max(axis=1)),
            output.numbers(found.novelty),
            strict=True,
        )
    ]
    if as_json:
        names = ("source", "nearest", "similarity", "novelty")
        output.print_json(
            {"similarity": found.similarity, "current": [dict(zip(names, row, strict=True)) for row in rows]}
        )
        return
    output.print_table(
        ("current image", "most similar prior image", "cosine", "novelty"),
        [
            (Text(output.printable(source)), Text(output.printable(nearest)), f"{cosine:.4f}", f"{novelty:.4f}")
            for source, nearest, cosine, novelty in rows
        ],
        title=f"the studies: similarity {found.similarity:.4f}",
    )


def _embed_study(model: "MedImageInsight", sources: list[str], name: str) -> "NDArray[np.float32]":
    """(N, D). A study without one of its images would be another, so the first that fails ends the call."""
    import numpy as np

    with output.counting(f"embedding the {name} study", len(sources)) as progress:
        found = model.embed_images(map(open_source, sources), errors="return", progress=progress)
    rows = []
    for source, one in zip(sources, found, strict=True):
        with error_context(source):
            if isinstance(one, InputError):
                raise one
        rows.append(one)
    return np.stack(rows)
