"""The model card that ``mi2 evaluate`` updates."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medimageinsight.bundle import MODEL_CARD, Bundle, find
from medimageinsight.cli.errors import error_context
from medimageinsight.errors import ConfigError, InputError

if TYPE_CHECKING:
    from pathlib import Path

    from medimageinsight.evaluate import Assessment, Report


def check_card(model: str | None, run: Path | None) -> None:
    """Refuse a card or a run that cannot be used, before a long evaluation."""
    if run is not None:
        from medimageinsight.export import read_run_record

        with error_context(run, ConfigError):
            read_run_record(run)
    elif not (card := find(model) / MODEL_CARD).is_file():
        with error_context(card):
            raise InputError("expected a model card, found no such file: check the path", code="model_card_not_found")


def update_card_of(model: str | None, result: Report | Assessment, run: Path | None) -> None:
    """Copy the figures between the card's marks; with a run, write the whole card."""
    from medimageinsight.evaluate import card_section, update_model_card

    folder = find(model)
    card = folder / MODEL_CARD
    if run is None:
        with error_context(card):
            update_model_card(card, result)
        return
    from medimageinsight.export import compose_model_card, read_parity, read_run_record
    from medimageinsight.files.atomic import write_text

    manifest = Bundle.open(folder).manifest
    with error_context(run, ConfigError):
        record = read_run_record(run)
    parity, _ = read_parity(folder, manifest.embedding_dim)
    write_text(card, compose_model_card(manifest, parity, run=record, evaluation=card_section(result)))
