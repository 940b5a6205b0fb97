"""Time image encoders of several widths, with random weights: milliseconds of a batch of 8, and times its floor.

python tools/mini/widths.py --work runs/mini2
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from medimageinsight.network.config import ModelConfig
from medimageinsight.network.model import UniCLModel

CANDIDATES = { # image size, widths, depths
    "mini": (128, (48, 96, 192, 224), (1, 1, 3, 1)),
    "64": (128, (64, 128, 256, 320), (1, 1, 2, 1)),
    "64-deep": (128, (64, 128, 256, 256), (1, 1, 3, 1)),
    "64-wide": (128, (64, 128, 256, 512), (1, 1, 1, 1)),
    "96": (128, (96, 192, 288, 384), (1, 1, 1, 1)),
}  # fmt: skip
HEAD_WIDTH = 32


def time_candidate(name: str, checkpoint: Path, work: Path) -> None:
    """Convert a network with random weights and print its figures."""
    size, widths, depths = CANDIDATES[name]
    described = json.loads((checkpoint / "model.json").read_text("utf-8"))
    heads = [width // HEAD_WIDTH for width in widths]
    image = described["architecture"]["image"]
    image |= {"image_size": [size, size], "widths": widths, "depths": depths, "heads": heads, "groups": heads}
    if name == "mini":
        image |= {"heads": (2, 3, 6, 7), "groups": (2, 3, 6, 7)}
    described["preprocessing"]["image_size"] = [size, size]
    folder, bundle = work / f"width-{name}", work / f"width-{name}-bundle"
    folder.mkdir(parents=True, exist_ok=True)
    network = UniCLModel(ModelConfig.from_dict(json.loads(json.dumps(described["architecture"]))))
    save_file({key: value.contiguous() for key, value in network.state_dict().items()}, folder / "model.safetensors")
    (folder / "model.json").write_text(json.dumps(described), "utf-8")
    (folder / "tokenizer.json").write_bytes((checkpoint / "tokenizer.json").read_bytes())
    command = [sys.executable, "-m", "medimageinsight"]
    if not bundle.exists():
        subprocess.run([*command, "convert", str(folder), "--out", str(bundle), "--quiet"], check=True)  # noqa: S603
    options = ["--batch-sizes", "1,8", "--threads", "1", "--baselines", "none", "--json"]
    output = subprocess.run(  # noqa: S603
        [*command, "bench", "--model", str(bundle), *options], check=True, capture_output=True, text=True
    ).stdout
    for result in json.loads(output)["results"]:
        if result["case"]["side"] == "image":
            timing = result["timings"][0]
            figures = f"{1000 * timing['median']:.1f} ms, {timing['times_floor']:.2f} times its floor"
            parameters = sum(value.numel() for value in network.image_encoder.parameters()) / 1e6
            print(f"{name}: batch {result['case']['batch']}, {figures}, {parameters:.1f} M parameters", flush=True)


def main() -> None:
    """Parse the arguments and time all candidates."""
    parser = argparse.ArgumentParser(description="Time image encoders of several widths.")
    parser.add_argument("names", nargs="*", default=list(CANDIDATES), help="from the list in this file")
    parser.add_argument("--checkpoint", type=Path, default=Path("checkpoints/mini"))
    parser.add_argument("--work", type=Path, required=True)
    args = parser.parse_args()
    torch.manual_seed(0)
    for name in args.names:
        time_candidate(name, args.checkpoint, args.work / "widths")


if __name__ == "__main__":
    main()
