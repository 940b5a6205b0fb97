"""The series of a file with several images, with small images to scroll through."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Annotated

from medimageinsight import schemas
from medimageinsight.errors import InputError
from medimageinsight.images import Limits
from medimageinsight.serve.images import thumbnail, to_data_uri
from medimageinsight.serve.models import ServedModel
from medimageinsight.serve.routes.route import body_errors, examples, new_router
from medimageinsight.serve.routes.rows import choose, image_row
from medimageinsight.serve.routes.samples import PNG
from medimageinsight.serve.routes.state import Server
from medimageinsight.serve.studies import check_count, open_study
from medimageinsight.studies import Series, StudyImage

router = new_router("Search and tasks", "/api")


@router.post("/study", responses=body_errors())
async def study(
    server: Server,
    body: Annotated[schemas.StudyRequest, examples({"A file": {"image": PNG, "select": "even:16"}})],
) -> schemas.StudyResponse:
    """List the series of a file, with small images.

    A multi-frame DICOM file, a volume (NIfTI, NRRD, MetaImage), pages of a TIFF, or a ZIP or TAR archive with the
    files of one study. `select` chooses the images that are shown; `frames` of other requests count from 0 in the
    order of the series.
    """
    served = server.models.get(body.model)
    row = await image_row(server, body.image, choose(), allow_urls=False)
    if row.error is not None:
        raise row.error
    limits = server.models.image_limits
    opened = await served.decode(partial(open_study, row.image or b"", limits, select=body.select))
    chosen = [(part, part.selected_indices()) for part in opened.study.series]
    check_count(sum(len(indices) for _, indices in chosen), server.settings.max_rows)
    window = body.window or served.model.preprocessing.window
    show = partial(_show_image, served, window=window, size=body.size, limits=limits)
    return schemas.StudyResponse(
        series=[await _show_series(part, indices, show) for part, indices in chosen], failed=opened.failed
    )


async def _show_series(
    series: Series, indices: Sequence[int], show: Callable[[int, StudyImage], Awaitable[schemas.ShownImage]]
) -> schemas.ShownSeries:
    images = await asyncio.gather(*(show(index, series.images[index]) for index in indices))
    return schemas.ShownSeries(
        kind=series.kind,
        modality=series.modality or None,
        count=len(series.images),
        images=images,
        warnings=[schemas.ImageWarning(**warning.to_dict()) for warning in series.warnings] or None,
    )


async def _show_image(
    served: ServedModel, frame: int, image: StudyImage, *, window: str | None, size: int, limits: Limits
) -> schemas.ShownImage:
    png, error = None, None
    try:
        png = to_data_uri(await served.decode(partial(thumbnail, image, size, limits, window=window)))
    except InputError as failure:
        error = schemas.ErrorDetail.of(failure)
    return schemas.ShownImage(frame=frame, position_mm=image.position_mm, time_ms=image.time_ms, image=png, error=error)
