"""``mi2 serve``: the HTTP server."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer
from typer.core import TyperCommand

from medimageinsight.errors import missing_extra

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic.fields import FieldInfo


def serve(context: typer.Context) -> None:
    """Serve the scoring endpoint over HTTP, by default for this machine only.

    Every option is a flag, an environment variable (`MI2_PORT`) and a key of the file that `--config` names. A flag
    takes precedence over the environment, the environment over the file. A list is repeated or joined by commas. Needs
    the extra 'serve'.
    """
    try:
        from medimageinsight.serve import load_settings
        from medimageinsight.serve import serve as run
    except ImportError:
        raise missing_extra("serve", "the server") from None
    run(load_settings(context.args))


class SettingsCommand(TyperCommand):
    """A command whose help lists the server's settings, which the server parses itself."""

    def format_help(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401 - private classes of typer
        """Print the help with an option for each setting."""
        try:
            from medimageinsight.serve import ServerSettings
        except ImportError:
            super().format_help(ctx, formatter)
        else:
            _described(ServerSettings.model_fields, self.help).format_help(ctx, formatter)


def _described(fields: Mapping[str, FieldInfo], description: str | None) -> Any:  # noqa: ANN401 - as above
    """Return a command, for its help only, that has an option for each field."""

    def described() -> None: ...

    described.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter(
                name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=_option(name, field)
            )
            for name, field in fields.items()
        ]
    )
    app = typer.Typer(rich_markup_mode="markdown", add_completion=False)
    app.command(help=description)(described)
    return typer.main.get_command(app)


def _option(name: str, field: FieldInfo) -> object:
    flag = "--" + name.replace("_", "-")
    kind = type(field.default) if isinstance(field.default, bool | int | float) else str
    choices = get_args(field.annotation)
    metavar = "|".join(choices) if choices and all(isinstance(choice, str) for choice in choices) else None
    return Annotated[
        kind,
        typer.Option(
            f"{flag}/--no-{flag[2:]}" if kind is bool else flag,
            help=field.description,
            metavar=metavar,
            show_default=field.default not in (None, (), ""),
        ),
    ]
