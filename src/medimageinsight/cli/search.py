"""``mi2 search``: the images of a store that are nearest to an image, a text or one of themselves."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medimageinsight.cli import output
from medimageinsight.cli.errors import error_context
from medimageinsight.cli.labelled_tables import check_output_file
from medimageinsight.cli.options import AsJson, ContactSheet, Frame, ImageFolders, Model, load_model
from medimageinsight.errors import ImageError, InputError, StoreError, TextError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from medimageinsight.search import Hit

StoreName = Annotated[
    str,
    typer.Argument(metavar="STORE", help="A folder, or postgresql://USER@HOST/DATABASE#NAME.", show_default=False),
]
Where = Annotated[str | None, typer.Option(metavar="EXPR", help="A filter, as \"modality = 'x-ray' and age >= 40\".")]


def search(
    store: StoreName,
    image: Annotated[str | None, typer.Option(metavar="FILE", help="An image; - is standard input.")] = None,
    text: Annotated[str | None, typer.Option(help="A text.")] = None,
    item_id: Annotated[str | None, typer.Option("--id", help="A stored image, which is found too.")] = None,
    vector: Annotated[Path | None, typer.Option(metavar="F.npy", help="An embedding, of shape (D,) or (1, D).")] = None,
    k: Annotated[int, typer.Option("-k", "--k", min=1, help="How many at most.")] = 10,
    where: Where = None,
    min_score: Annotated[float | None, typer.Option(help="The smallest cosine similarity, -1 to 1.")] = None,
    exact: Annotated[bool, typer.Option("--exact", help="Compare with every vector, without the index.")] = False,
    exclude_same: Annotated[
        str | None,
        typer.Option(
            "--exclude-same",
            "--other-than-same",  # the name before 0.2
            metavar="COLUMN",
            help="With --id: leave out images with its value there, as PatientID.",
        ),
    ] = None,
    contact_sheet: ContactSheet = None,
    folder: ImageFolders = None,
    frame: Frame = 0,
    model: Model = None,
    as_json: AsJson = False,
) -> None:
    """Find the stored images nearest to an image, a text, one of themselves or a vector.

    The image is prepared as those of the store were. Needs the extra 'search' or 'postgres'.
    """
    from medimageinsight.cli.contact_sheet import HitCard, check_folders, query_card, read_twice, save_hits
    from medimageinsight.search import open_store, redact_location
    from medimageinsight.search import search as find

    if sum(one is not None for one in (image, text, item_id, vector)) != 1:
        raise InputError("expected one of --image, --text, --id and --vector", code="query_invalid")
    folders = check_folders(contact_sheet, folder)
    if contact_sheet is not None:
        check_output_file(contact_sheet)
    source = None if image is None else read_twice(image)
    with error_context(redact_location(store), StoreError):
        opened = open_store(store)
    with opened, error_context(image, ImageError), error_context(text, TextError):
        hits = find(
            load_model(model) if image is not None or text is not None else None,
            opened,
            image=source,
            text=text,
            item_id=item_id,
            vector=None if vector is None else _read_vector(vector),
            k=k,
            where=where,
            min_score=min_score,
            exact=exact,
            exclude_same=exclude_same,
            frame=frame,
        )
        own = None if item_id is None or contact_sheet is None else opened.get([item_id])[0].path
    if contact_sheet is not None:
        query = query_card("query", image=source, frame=frame, stored=own, folders=folders, note=text or "a vector")
        cards = [HitCard(hit=hit) for hit in hits]
        save_hits(contact_sheet, query, cards, folders, title="The most similar stored images")
    if as_json:
        output.print_json({"hits": [hit.to_dict() for hit in hits]})
    elif hits:
        _print(hits)
    else:
        output.note("nothing was found")


def _read_vector(file: Path) -> "NDArray[np.float64]":
    """An embedding that `mi2 embed --out` wrote; nothing of the file is executed."""
    import numpy as np

    with error_context(file):
        try:
            with file.open("rb") as stream:
                array = np.load(stream, allow_pickle=False)
        except (ValueError, EOFError):
            array = None
        if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiu":
            raise InputError(
                "expected a .npy file of numbers, got another: write it with mi2 embed --out", code="vector_unreadable"
            )
    return np.asarray(array[0] if array.ndim == 2 and len(array) == 1 else array, dtype=np.float64)


def _print(hits: "list[Hit]") -> None:
    columns = list(dict.fromkeys(name for hit in hits for name in hit.metadata))
    with_path = any(hit.path != hit.id for hit in hits)
    output.print_table(
        ("score", "id", *(["path"] if with_path else []), *columns),
        [
            (
                f"{hit.score:.4f}",
                output.printable(hit.id),
                *([output.printable(hit.path)] if with_path else []),
                *(output.printable(str(hit.metadata.get(name, ""))) for name in columns),
            )
            for hit in hits
        ],
    )
