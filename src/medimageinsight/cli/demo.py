"""``mi2 demo``: real images, ranked prompts, a table and a picture."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from medimageinsight.cli import output
from medimageinsight.cli.errors import error_context
from medimageinsight.cli.options import AsJson, Model, load_model
from medimageinsight.errors import ImageError
from medimageinsight.version import DISCLAIMER

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

    from medimageinsight.api import MedImageInsight
    from medimageinsight.cli.examples import Example

SHOWN = 3  # prompts for each image


def demo(
    out: Annotated[Path, typer.Option(metavar="F.png", help="Where the contact sheet goes.")] = Path(
        "medimageinsight-demo.png"
    ),
    model: Model = None,
    as_json: AsJson = False,
) -> None:
    """Embed real clinical images, rank prompts for each, and show the result."""
    from medimageinsight.cli.examples import EXAMPLES, PROMPTS, example_path

    found = [(example, path) for example in EXAMPLES if (path := example_path(example.file)) is not None]
    if not found:
        raise ImageError(
            "expected pydicom's example files, it was installed without them: pip install --force pydicom",
            code="examples_missing",
        )
    loaded = load_model(model)
    probabilities = loaded.classify([path for _, path in found], PROMPTS)
    examples = [example for example, _ in found]
    ranked = [_best(row, PROMPTS) for row in probabilities]
    pictures = [_as_seen(loaded, path) for _, path in found]
    with error_context(out):
        _save_sheet(out, loaded.name, examples, pictures, ranked)
    if as_json:
        images = [
            {"source": example.file, "what": example.what, "probabilities": dict(zip(PROMPTS, row, strict=True))}
            for example, row in zip(examples, map(output.numbers, probabilities), strict=True)
        ]
        output.print_json({"images": images, "contact_sheet": str(out)})
        return
    _print(loaded, examples, ranked)
    right = sum(prompts[0][0].startswith(example.modality) for example, prompts in zip(examples, ranked, strict=True))
    output.results().print(
        f"The best prompt has the right modality for {right} of {len(examples)}.\n"
        f"Contact sheet: {out}\n{DISCLAIMER}"
    )


def _best(probabilities: "NDArray[np.float32]", prompts: tuple[str, ...]) -> list[tuple[str, float]]:
    """The most probable prompts first."""
    order = (-probabilities).argsort(kind="stable")[:SHOWN]
    return [(prompts[index], float(probabilities[index])) for index in order]


def _as_seen(model: "MedImageInsight", path: str) -> "Image.Image":
    """The picture in the network's own size, which keeps no aspect ratio."""
    from PIL import Image

    from medimageinsight import images

    height, width = model.preprocessing.image_size
    return Image.fromarray(images.load(path)).resize((width, height), Image.Resampling.BICUBIC)


def _save_sheet(
    out: Path,
    name: str,
    examples: "list[Example]",
    pictures: "list[Image.Image]",
    ranked: list[list[tuple[str, float]]],
) -> None:
    from medimageinsight.cli.contact_sheet import Ranking, draw_sheet

    rankings = [
        Ranking(image=picture, title=example.what, prompts=prompts)
        for example, picture, prompts in zip(examples, pictures, ranked, strict=True)
    ]
    sheet = draw_sheet(
        rankings, title=f"Images as {name} sees them, and the prompts that fit best", footer=DISCLAIMER
    )
    sheet.save(out, format="PNG")


def _print(model: "MedImageInsight", examples: "list[Example]", ranked: list[list[tuple[str, float]]]) -> None:
    output.print_table(
        ("image", f"the best {SHOWN} prompts", "probability", ""),
        [
            (
                Text(example.what if place == 0 else "", style="bold"),
                prompt,
                output.bar(probability),
                f"{probability:.0%}",
            )
            for example, prompts in zip(examples, ranked, strict=True)
            for place, (prompt, probability) in enumerate(prompts)
        ],
        title=f"{model.name}: {model.embedding_dim} numbers for each image",
    )
