"""``mi2 compare``: how alike two things are, images or texts."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medimageinsight.cli import output
from medimageinsight.cli.failures import about
from medimageinsight.cli.options import AsJson, Model, Preprocessing, load_model
from medimageinsight.cli.sources import STANDARD_INPUT, open_source

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from medimageinsight.api import MedImageInsight

# A word with one of these endings was meant as a file, also where there is none.
_ENDINGS = (".dcm", ".dicom", ".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".gif", ".webp", ".jp2", ".ppm", ".pgm")
_HELP = "An image file, - for standard input, or a text."


def compare(
    a: Annotated[str, typer.Argument(metavar="A", help=_HELP)],
    b: Annotated[str, typer.Argument(metavar="B", help=_HELP)],
    preprocessing: Preprocessing = None,
    model: Model = None,
    as_json: AsJson = False,
) -> None:
    """Print the cosine similarity, -1 to 1, of two images, two texts, or an image and a text."""
    loaded = load_model(model, preprocessing)
    similarity = loaded.similarity(_embed(loaded, a), _embed(loaded, b))
    if as_json:
        output.print_json({"similarity": output.numbers(similarity.reshape(1))[0]})
    else:
        output.results().print(f"similarity {float(similarity):.4f}")


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


def _embed(model: "MedImageInsight", word: str) -> "NDArray[np.float32]":
    with about(word):
        return model.embed_images(open_source(word)) if is_image(word) else model.embed_texts(word)
