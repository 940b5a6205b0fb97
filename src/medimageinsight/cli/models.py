"""``mi2 models``: the models that can be used by name."""

from typing import Any

from medimageinsight.cli import output
from medimageinsight.cli.options import AsJson
from medimageinsight.errors import BundleError


def models(as_json: AsJson = False) -> None:
    """List the models that --model accepts by name, and how to get those that are not installed."""
    from medimageinsight.bundle import KNOWN_MODELS, home, installed

    available = [_describe(model.name, str(model.folder)) for model in installed()]
    names = {model["name"] for model in available}
    absent = [
        {"name": name, "advice": advice.format(folder=home() / "models" / name)}
        for name, advice in KNOWN_MODELS.items()
        if name not in names
    ]
    if as_json:
        output.print_json({"models": available, "not_installed": absent})
        return
    output.print_table(
        ("model", "embedding", "input", "description"),
        [
            *(
                (model["name"], str(model.get("embedding_dim", "")), model.get("input", ""), _format(model))
                for model in available
            ),
            *((model["name"], "", "", f"not installed: {model['advice']}") for model in absent),
        ],
    )


def _describe(name: str, folder: str) -> dict[str, Any]:
    from medimageinsight.bundle import Bundle

    described: dict[str, Any] = {"name": name, "folder": folder}
    try:
        manifest = Bundle.open(folder).manifest
    except BundleError as error:
        return described | {"error": error.to_dict()}
    height, width = manifest.preprocessing["image_size"]
    return described | {
        "description": manifest.description,
        "embedding_dim": manifest.embedding_dim,
        "precision": manifest.precision,
        "input": f"{width} x {height}",
    }


def _format(model: dict[str, Any]) -> str:
    return (
        f"unusable: {model['error']['message']}" if "error" in model else f"{model['description']}\n{model['folder']}"
    )
