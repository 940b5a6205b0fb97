"""A real ``mi2 mcp`` in its own process, and the protocol's own client."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from medimageinsight import MedImageInsight, search
from medimageinsight.bundle import ModelIdentity
from medimageinsight.cli.examples import EXAMPLES, example_path
from medimageinsight.tagging import embed_tags, fit_tagger, prompt_scores, save_tagger, tag_prompts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from anyio.from_thread import BlockingPortal
    from mcp import Client

KINDS = {"computed tomography": "CT", "magnetic resonance imaging": "MR", "ultrasound": "US"}


@dataclass(frozen=True)
class Workspace:
    """A folder of real images with its store and tagger, and a file outside of it."""

    root: Path

    @property
    def scans(self) -> Path:
        return self.root / "scans"

    @property
    def store(self) -> Path:
        return self.root / "stores" / "cases"

    @property
    def tagger(self) -> Path:
        return self.root / "kinds.json"

    @property
    def outside(self) -> Path:
        return self.root / "outside.dcm"

    def command(self) -> list[str]:
        return ["mcp", "--folder", str(self.scans), "--store", str(self.store), "--tagger", str(self.tagger)]


@pytest.fixture(scope="session")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    made = Workspace(tmp_path_factory.mktemp("mcp"))
    (made.scans / "more").mkdir(parents=True)
    paths = {example.file: example_path(example.file) for example in EXAMPLES}
    if None in paths.values():
        pytest.skip("pydicom was installed without its test files")
    for file, path in paths.items():
        shutil.copy(str(path), made.scans / file)
    shutil.copy(made.scans / "CT_small.dcm", made.scans / "more" / "again.dcm")
    shutil.copy(made.scans / "CT_small.dcm", made.outside)
    (made.scans / "broken.dcm").write_bytes((made.scans / "CT_small.dcm").read_bytes()[:2000])
    labels = {str(made.scans / example.file): {"kind": KINDS[example.modality]} for example in EXAMPLES}
    with MedImageInsight.load("mini") as model:
        with search.create_store(made.store, identity=search.Identity.of(model)) as store:
            search.index_images(
                model, store, list(labels), ids=[Path(file).name for file in labels], metadata=[labels.get]
            )
        prompts = tag_prompts({kind: name for name, kind in KINDS.items()})
        embedded = embed_tags(model.embed_texts, prompts)
        scores = prompt_scores(model.embed_images(list(labels)), embedded, model.logit_scale)
        truth = np.array([[label["kind"] == kind for kind in prompts] for label in labels.values()])
        identity = ModelIdentity.of(model.manifest, model.preprocessing)
        save_tagger(fit_tagger(prompts, scores, truth, model=identity), made.tagger)
    return made


@dataclass(frozen=True)
class Agent:
    """The client, for tests that are not asynchronous."""

    portal: BlockingPortal
    client: Client
    log: Path

    def call(self, tool: str, /, **arguments: object) -> Any:
        """Return the whole result."""
        return self.portal.call(self.client.call_tool, tool, arguments)

    def ask(self, tool: str, /, **arguments: object) -> dict[str, Any]:
        """Return the structured result, which the client has checked against the tool's schema."""
        result = self.call(tool, **arguments)
        assert not result.is_error, result.content
        assert result.content[0].text
        return result.structured_content

    def refused(self, tool: str, /, **arguments: object) -> dict[str, str]:
        """Return the error of a call that fails."""
        result = self.call(tool, **arguments)
        assert result.is_error
        return json.loads(result.content[0].text)["error"]


@pytest.fixture(scope="session")
def agent(workspace: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    from anyio.from_thread import start_blocking_portal
    from mcp import Client
    from mcp.client.stdio import StdioServerParameters, stdio_client

    server = StdioServerParameters(
        command=sys.executable, args=["-m", "medimageinsight", *workspace.command()], env={"MI2_MODEL": "mini"}
    )
    log = tmp_path_factory.mktemp("log") / "stderr"
    with log.open("w") as errors, start_blocking_portal() as portal:
        client = Client(stdio_client(server, errlog=errors))
        with portal.wrap_async_context_manager(client):
            yield Agent(portal, client, log)
