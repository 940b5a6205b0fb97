"""``mi2 tag``: which tags an image has, each by a threshold of its own; ``mi2 tag fit`` chooses the thresholds."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from medimageinsight.cli import output
from medimageinsight.cli.failures import FAILED_INPUT, about, reported
from medimageinsight.cli.groups import DefaultGroup
from medimageinsight.cli.learned import identity, report_failures, steps_of
from medimageinsight.cli.options import AsJson, Frame, Model, Preprocessing, load_model
from medimageinsight.cli.sources import list_sources, open_source
from medimageinsight.cli.tag_fit import fit
from medimageinsight.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray
    from rich.console import RenderableType

    from medimageinsight.api import MedImageInsight

app = typer.Typer(
    cls=DefaultGroup,
    help="Tell which tags images have: mi2 tag FILE... --tagger T.json, or --vocabulary modality.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)

DEFAULT_THRESHOLD = 0.5  # of a vocabulary's probabilities, which sum to 1: at most one term reaches it


def apply(
    files: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="FILE...", help="Images; folders are searched; - is standard input.", show_default=False
        ),
    ] = None,
    tagger: Annotated[Path | None, typer.Option(metavar="FILE", help="A file of `mi2 tag fit`.")] = None,
    vocabulary: Annotated[
        str | None, typer.Option(metavar="modality|anatomy|view", help="Ready-made terms that exclude each other.")
    ] = None,
    threshold: Annotated[
        float | None, typer.Option(min=0, max=1, help="Of a vocabulary's probabilities. Default: 0.5.")
    ] = None,
    frame: Frame = 0,
    preprocessing: Preprocessing = None,
    model: Model = None,
    as_json: AsJson = False,
) -> None:
    """Tell which tags each image has: FILE... --tagger T.json, or --vocabulary modality|anatomy|view."""
    sources = list_sources(files or [])
    if not sources:
        raise InputError("expected image files, got none: name them", code="files_missing")
    if (tagger is None) == (vocabulary is None):
        raise InputError("expected either --tagger or --vocabulary", code="tagger_missing")
    if tagger is not None and (threshold is not None or preprocessing is not None):
        raise InputError(
            "expected --threshold and --preprocessing with --vocabulary only: a tagger has its own",
            code="tagger_option_unused",
        )
    if tagger is not None:
        names, thresholds, found = _by_tagger(sources, tagger, model, frame)
    else:
        names, found = _by_vocabulary(sources, str(vocabulary), model, preprocessing, frame)
        thresholds = [DEFAULT_THRESHOLD if threshold is None else threshold] * len(names)
    results = [
        (source, one if isinstance(one, InputError) else _tags(names, one, thresholds))
        for source, one in zip(sources, found, strict=True)
    ]
    failed = report_failures(results)
    if as_json:
        output.print_json([_document(source, one) for source, one in results])
    elif failed < len(results):
        output.print_table(
            ("source", "tag", "score", "threshold"),
            [row for source, one in results if not isinstance(one, InputError) for row in _rows(source, one)],
        )
    if failed:
        raise typer.Exit(FAILED_INPUT)


for verb in (apply, fit):
    app.command()(reported(verb))


def _by_tagger(
    sources: list[str], path: Path, model: str | None, frame: int
) -> "tuple[tuple[str, ...], list[float], list[NDArray[np.float32] | InputError]]":
    """The tags, their thresholds, and the scores of each source."""
    from medimageinsight.tasks.tagger_file import load_tagger

    with about(path):
        tagger = load_tagger(path)
    loaded = load_model(model, steps_of(tagger.model))
    with about(path):
        tagger.model.check(identity(loaded), texts=tagger.adapter is None)
    found = _scored(loaded, sources, frame, lambda rows: tagger.scores(rows, loaded.embed_texts, loaded.logit_scale))
    return tagger.names, tagger.thresholds.tolist(), found


def _by_vocabulary(
    sources: list[str], name: str, model: str | None, preprocessing: str | None, frame: int
) -> "tuple[tuple[str, ...], list[NDArray[np.float32] | InputError]]":
    """The terms, and their probabilities for each source."""
    from medimageinsight.tasks.vocabularies import term_probabilities, vocabulary

    vocabulary(name)  # refuses an unknown name before the model is opened
    loaded = load_model(model, preprocessing)
    terms = vocabulary(name, model=loaded.name)
    found = _scored(
        loaded, sources, frame, lambda rows: term_probabilities(rows, terms, loaded.embed_texts, loaded.logit_scale)
    )
    return tuple(terms), found


def _scored(
    model: "MedImageInsight",
    sources: list[str],
    frame: int,
    score: "Callable[[list[NDArray[np.float32]]], NDArray[np.float32]]",
) -> "list[NDArray[np.float32] | InputError]":
    """The scores (T,) of each source, or its error."""
    with output.counting("tagging", len(sources)) as progress:
        embedded = model.embed_images(map(open_source, sources), errors="return", frame=frame, progress=progress)
    rows = [one for one in embedded if not isinstance(one, InputError)]
    scores = iter(score(rows) if rows else ())
    return [one if isinstance(one, InputError) else next(scores) for one in embedded]


def _tags(
    names: tuple[str, ...], scores: "NDArray[np.float32]", thresholds: list[float]
) -> dict[str, dict[str, float | bool]]:
    return {
        name: {"score": score, "threshold": threshold, "present": float(exact) >= threshold}
        for name, score, exact, threshold in zip(names, output.numbers(scores), scores, thresholds, strict=True)
    }


def _document(source: str, found: "dict[str, dict[str, float | bool]] | InputError") -> dict[str, object]:
    if isinstance(found, InputError):
        return {"source": source, "error": found.to_dict()}
    return {"source": source, "tags": found}


def _rows(source: str, tags: dict[str, dict[str, float | bool]]) -> "list[tuple[RenderableType, ...]]":
    """The tags that are there, the most certain first; its name stands in the first row only."""
    there = sorted((name for name, tag in tags.items() if tag["present"]), key=lambda name: -float(tags[name]["score"]))
    if not there:
        return [(Text(output.printable(source)), "–", "", "")]
    return [
        (
            Text(output.printable(source) if place == 0 else ""),
            Text(output.printable(name), style="bold"),
            f"{tags[name]['score']:.3f}",
            f"{tags[name]['threshold']:.3f}",
        )
        for place, name in enumerate(there)
    ]
