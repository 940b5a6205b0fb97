"""``mi2 demo``: real images, ranked prompts, a table and a contact sheet."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from medimageinsight.cli import output
from medimageinsight.cli.errors import error_context
from medimageinsight.cli.options import AsJson, Model, load_model
from medimageinsight.cli.results import format_cosine, mark_lines, mark_row, name_first_row, warn_of_unknown
from medimageinsight.errors import ImageError
from medimageinsight.version import DISCLAIMER

if TYPE_CHECKING:
    from PIL import Image

    from medimageinsight.api import MedImageInsight
    from medimageinsight.cli.examples import Example
    from medimageinsight.cli.results import Row
    from medimageinsight.tasks import ZeroShotResult

SHOWN_PROMPTS = 3  # for each image


def demo(
    out: Annotated[Path, typer.Option(metavar="F.png", help="The image file to write.")] = Path(
        "medimageinsight-demo.png"
    ),
    model: Model = None,
    as_json: AsJson = False,
) -> None:
    """Rank text descriptions for a few real clinical images, and draw the result. A first test of an installation."""
    from medimageinsight.cli.contact_sheet import Card, draw_sheet
    from medimageinsight.cli.examples import EXAMPLES, PROMPTS, example_path

    available = [(example, path) for example in EXAMPLES if (path := example_path(example.file)) is not None]
    if not available:
        raise ImageError(
            "expected pydicom's example files, got a pydicom without them: pip install --force pydicom",
            code="examples_missing",
        )
    loaded = load_model(model)
    results = cast("list[ZeroShotResult]", loaded.zero_shot([path for _, path in available], PROMPTS))
    examples = [example for example, _ in available]
    warn_of_unknown(results)
    ranked = [sorted(result.probabilities.items(), key=lambda entry: -entry[1])[:SHOWN_PROMPTS] for result in results]
    cards = [
        Card(
            image=_resize_like_network(loaded, path),
            title=example.description,
            prompts=prompts,
            lines=[f"best cosine {result.cosine:.3f}", *mark_lines(result.unlike_validation)],
        )
        for (example, path), prompts, result in zip(available, ranked, results, strict=True)
    ]
    sheet = draw_sheet(cards, title=f"Images as {loaded.name} sees them, and the prompts that fit best")
    with error_context(out):
        sheet.save(out, format="PNG")
    if as_json:
        documents = [
            {"source": example.file, "what": example.description, **result.to_dict()}
            for example, result in zip(examples, results, strict=True)
        ]
        output.print_json({"images": documents, "contact_sheet": str(out)})
        return
    _print(loaded, examples, ranked, results)
    correct = sum(prompts[0][0].startswith(example.modality) for example, prompts in zip(examples, ranked, strict=True))
    output.results().print(
        f"The best prompt has the right modality for {correct} of {len(examples)}.\nContact sheet: {out}\n{DISCLAIMER}"
    )


def _resize_like_network(model: "MedImageInsight", path: str) -> "Image.Image":
    """Resize an image to the network's input size; its aspect ratio is lost, as in the network's input."""
    from PIL import Image

    from medimageinsight import images

    height, width = model.preprocessing.image_size
    return Image.fromarray(images.load(path)).resize((width, height), Image.Resampling.BICUBIC)


def _print(
    model: "MedImageInsight",
    examples: "list[Example]",
    ranked: list[list[tuple[str, float]]],
    results: "list[ZeroShotResult]",
) -> None:
    rows: list[Row] = []
    for example, prompts, result in zip(examples, ranked, results, strict=True):
        cosines = [format_cosine(result.cosine), *[""] * (len(prompts) - 1)]
        cells: list[Row] = [
            (prompt, output.bar(probability), f"{probability:.0%}", cosine)
            for (prompt, probability), cosine in zip(prompts, cosines, strict=True)
        ]
        marks = mark_row(result.unlike_validation, columns=4)
        rows += name_first_row(example.description, [*cells, *marks], style="bold")
    output.print_table(
        ("image", f"the best {SHOWN_PROMPTS} prompts", "", "probability", "best cosine"),
        rows,
        title=f"{model.name}: {model.embedding_dim} numbers for each image",
    )
