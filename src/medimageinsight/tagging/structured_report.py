"""Tags as a DICOM Structured Report: a measurement report (PS3.16 TID 1500) that a PACS can store next to its images.

Each tag is a score without a unit, and each present tag a qualitative evaluation, with codes of this project (99MI2):
tags are free texts, and no code of a terminology is claimed for them. The report is partial, preliminary and
unverified, and names the model, the thresholds and the disclaimer.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from medimageinsight.errors import ImageError, missing_extra
from medimageinsight.images import Limits, dicom, read_source
from medimageinsight.images.decoder_warnings import suppress_decoder_warnings
from medimageinsight.version import DISCLAIMER, __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydicom.dataset import Dataset

    from medimageinsight.bundle import ModelIdentity
    from medimageinsight.images import HeaderSource
    from medimageinsight.tagging.tags import ImageTags

_SCHEME = "99MI2"  # private coding scheme (PS3.16 8.2)
_REQUIRED = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID")
_COPIED = ("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyID", "StudyDate", "StudyTime",
           "AccessionNumber", "ReferringPhysicianName")  # fmt: skip
_MAX_MEANING = 64  # characters (PS3.5 6.2, LO)
_SERIES_NUMBER = 9900


def make_report(
    tags: ImageTags,
    source: HeaderSource,
    model: ModelIdentity,
    *,
    frame: int | None = None,
    notes: Sequence[str] = (),
    limits: Limits = Limits(),  # noqa: B008 - frozen
) -> Dataset:
    """Return a Comprehensive SR with the tags of a DICOM image, in a new series of its study.

        report = tagging.make_report(tags, "chest.dcm", model.identity)
        report.save_as("report.dcm", enforce_file_format=True)

    Args:
        tags: The tags of the image.
        source: The image, or what has its header; of a pooled vector, that of the first image.
        model: The model that tagged it.
        frame: The index of its frame, from 0; None for a single image.
        notes: Further parameters of the algorithm, such as the number of pooled images.
        limits: Bounds on the size of the file.

    Raises:
        ImageError: It is no DICOM image, or lacks its UIDs (``report_source_invalid``).
        MissingExtraError: The extra ``sr`` is not installed.
    """
    try:
        import highdicom
    except ImportError:
        raise missing_extra("sr", "DICOM Structured Reports") from None
    from pydicom.uid import generate_uid

    with suppress_decoder_warnings():
        header = _evidence(source, limits)
        report: Dataset = highdicom.sr.ComprehensiveSR(
            evidence=[header],
            content=_content(tags, header, model, frame, notes),
            series_instance_uid=generate_uid(),
            series_number=_SERIES_NUMBER,
            sop_instance_uid=generate_uid(),
            instance_number=1,
            manufacturer="medimageinsight-onnx",
            is_complete=False,
            is_final=False,
            is_verified=False,
        )
    report.SpecificCharacterSet = "ISO_IR 192"  # tags are in any language
    report.SeriesDescription = "Research only: tags of images"
    return report


def _content(tags: ImageTags, header: Dataset, model: ModelIdentity, frame: int | None, notes: Sequence[str]) -> Any:  # noqa: ANN401 - highdicom's own
    from highdicom import sr
    from highdicom.sr import CodedConcept
    from pydicom.sr.codedict import codes

    thresholds = [f"threshold of {_short(name)}: {tag.threshold:.4f}" for name, tag in tags.items()]
    names = {name: CodedConcept(_code(name), _SCHEME, _short(name)) for name in tags}
    group = sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(uid=_new_uid(), identifier="Tags"),
        algorithm_id=sr.AlgorithmIdentification(
            name=f"medimageinsight-onnx, model {model.name}",
            version=__version__,
            parameters=[DISCLAIMER, *notes, *thresholds],
        ),
        measurements=[
            sr.Measurement(names[name], value=round(float(tag.score), 4), unit=codes.UCUM.NoUnits)
            for name, tag in tags.items()
        ],
        qualitative_evaluations=[
            sr.QualitativeEvaluation(names[name], CodedConcept("52101004", "SCT", "Present"))
            for name, tag in tags.items()
            if tag.present
        ],
        source_images=[
            sr.SourceImageForMeasurementGroup(
                header.SOPClassUID, header.SOPInstanceUID, None if frame is None else [frame + 1]
            )
        ],
    )
    device = sr.DeviceObserverIdentifyingAttributes(
        uid=_new_uid(), name="medimageinsight-onnx", model_name=_short(model.name)
    )
    context = sr.ObservationContext(
        observer_device_context=sr.ObserverContext(codes.DCM.Device, observer_identifying_attributes=device)
    )
    return sr.MeasurementReport(
        observation_context=context,
        procedure_reported=CodedConcept("363679005", "SCT", "Imaging procedure"),
        imaging_measurements=[group],
    )


def _evidence(source: HeaderSource, limits: Limits) -> Dataset:
    """Return the header with the elements that a report copies, empty where the image has none."""
    from pydicom.dataset import Dataset

    if isinstance(source, Dataset):
        dataset = source
    else:
        data = read_source(source, limits)
        if not dicom.is_dicom(data):
            raise _invalid("another file")
        dataset = dicom.read(data, limits)
    if not all(dataset.get(keyword) for keyword in _REQUIRED):
        raise _invalid("one without its UIDs")
    header = Dataset()
    for keyword in (*_REQUIRED, *_COPIED):
        setattr(header, keyword, dataset.get(keyword, ""))
    for keyword in ("SpecificCharacterSet", "Rows", "Columns", "NumberOfFrames", "Modality"):
        if keyword in dataset:
            setattr(header, keyword, dataset.get(keyword))
    if (meta := getattr(dataset, "file_meta", None)) is not None:
        header.file_meta = meta
    return header


def _short(name: str) -> str:
    return name[:_MAX_MEANING].strip().replace("\\", "/")  # a backslash separates values


def _code(name: str) -> str:
    """Return a code of at most 16 characters for a tag, the same in all reports."""
    return hashlib.sha256(name.encode()).hexdigest()[:12].upper()


def _new_uid() -> str:
    from pydicom.uid import generate_uid

    return str(generate_uid())


def _invalid(got: str) -> ImageError:
    return ImageError(
        f"expected a DICOM image for a structured report, got {got}: leave out --sr-folder, or tag the DICOM file",
        code="report_source_invalid",
    )
