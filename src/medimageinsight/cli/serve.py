"""``mi2 serve``: the HTTP server."""

import typer

from medimageinsight.errors import missing_extra


def serve(context: typer.Context) -> None:
    """Serve the scoring endpoint over HTTP, by default for this machine only; `--help` lists its options.

    Every option is a flag, an environment variable (`MI2_PORT`) and a key of the file that `--config` names. Needs the
    extra 'serve'.
    """
    try:
        from medimageinsight.serve import load_settings
        from medimageinsight.serve import serve as run
    except ImportError:
        raise missing_extra("serve", "the server") from None
    run(load_settings(context.args))
