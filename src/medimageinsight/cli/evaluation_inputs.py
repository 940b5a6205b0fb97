"""What ``mi2 evaluate`` scores: the split, the labels, the groups, and the folder of the worst errors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from medimageinsight.cli import output
from medimageinsight.cli.errors import error_context
from medimageinsight.errors import ConfigError, DatasetError, InputError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from medimageinsight.datasets import Table
    from medimageinsight.evaluate import LabelTable

DEFAULT_SPLIT = "test"


@dataclass(frozen=True, kw_only=True)
class LabelOptions:
    """Several labels an image: ``columns`` of 1 and 0, or one column whose cells have a ``separator``."""

    columns: tuple[str, ...] = ()
    separator: str | None = None
    uncertain: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, columns: Sequence[str] | None, separator: str | None, uncertain: Sequence[str] | None
    ) -> LabelOptions | None:
        """Return the options of a command line; None for one label an image.

        Raises:
            InputError: An option that would be ignored (``option_unused``), or an empty separator.
        """
        if not columns and separator is None:
            if uncertain:
                raise InputError(
                    "expected --uncertain with --label-columns or --label-separator, got neither: add one",
                    code="option_unused",
                )
            return None
        if separator == "":
            raise InputError("expected a --label-separator of one character or more, got none: give one")
        if separator is not None and columns and len(columns) > 1:
            raise InputError(
                f"expected one column with --label-separator, got {len(columns)}: leave the separator out for one "
                "column a label",
                code="option_unused",
            )
        return cls(columns=tuple(columns or ()), separator=separator, uncertain=tuple(uncertain or ()))

    def read(self, rows: Table, file: Path | None) -> LabelTable:
        """Read the labels of the rows; without a file from the labels of the rows themselves.

        Raises:
            ConfigError: A column does not exist (``label_column_unknown``).
            DatasetError: Cells that cannot be used.
        """
        from medimageinsight.evaluate import UNCERTAIN, read_label_columns, read_separated_labels, split_labels

        uncertain = self.uncertain or UNCERTAIN
        if self.separator is None:
            if file is None:
                raise ConfigError(
                    "expected a table with columns of labels, got another source: name the table",
                    code="label_column_unknown",
                )
            return read_label_columns(file, len(rows), self._names(file), uncertain=uncertain)
        if file is None:
            return split_labels([sample.label for sample in rows], self.separator, uncertain=uncertain)
        column = self.columns[0] if self.columns else None
        return read_separated_labels(file, len(rows), self.separator, column=column, uncertain=uncertain)

    def _names(self, file: Path) -> list[str]:
        """Return the columns; ``A,B`` are two unless a column has this name."""
        from medimageinsight.files.columns import find_column, read_header

        header = read_header(file)
        return [
            part.strip()
            for name in self.columns
            for part in ([name] if find_column(header, name) else name.split(","))
            if part.strip()
        ]


def choose_split(rows: Table, split: str) -> str | None:
    """Return the split to score; None, all images, for a table without splits.

    Raises:
        DatasetError: The table has no such split (``dataset_split_unknown``).
    """
    if split == DEFAULT_SPLIT and set(rows.splits) == {""}:
        output.note("the table has no splits: all images are scored, and nothing is trained or chosen")
        return None
    rows.of_split(split)
    return split


def check_labels(rows: Table, split: str | None) -> None:
    """Refuse a split without labels.

    Raises:
        DatasetError: ``dataset_labels_missing``.
    """
    if not any(sample.label for sample in (rows if split is None else rows.of_split(split))):
        subject = "the images" if split is None else f"the {split} split"
        raise DatasetError(
            f"expected labels of {subject}, got none: add a column 'label', or name columns with --label-columns",
            code="dataset_labels_missing",
        )


def choose_groups(file: Path | None, count: int, columns: list[str] | None) -> dict[str, tuple[str, ...]]:
    """Read the groups of a table's rows; none where the rows are not those of a table's file.

    Raises:
        ConfigError: As `evaluate.read_groups`.
    """
    from medimageinsight.evaluate import read_groups

    if file is not None:
        return read_groups(file, count, columns or ())
    if columns:
        raise ConfigError(
            "expected a table with columns to group by, got a config: name the table", code="group_column_unknown"
        )
    output.note("no groups: they are read only from a table whose rows are all used")
    return {}


def choose_errors_folder(worst: int | None, folder: Path | None, out: Path | None) -> Path | None:
    """Return the folder for the worst errors, or None if they are not wanted; call it before a long run.

    Raises:
        InputError: No folder, or no ``--worst``, or a folder with other files (``errors_folder_occupied``).
    """
    from medimageinsight.evaluate import check_errors_folder

    if worst is None:
        if folder is not None:
            raise InputError("expected --worst with --worst-out, got none: add it", code="option_unused")
        return None
    if folder is None:
        if out is None:
            raise InputError(
                "expected a folder for the worst errors, got none: add --worst-out DIR", code="errors_folder_missing"
            )
        folder = out.absolute().with_name(f"{out.absolute().name}_worst")
    with error_context(folder):
        return check_errors_folder(folder)
