"""Every notebook runs from top to bottom in a real kernel, and comes to what its text says."""

from __future__ import annotations

import json
import os
import warnings
from pathlib import Path

import pytest

pytest.importorskip("nbclient", reason="running notebooks needs nbclient, of the tools for development")
pytest.importorskip("ipykernel", reason="running notebooks needs ipykernel, of the tools for development")
for module, extra in (("lancedb", "search"), ("matplotlib", "evaluate"), ("sklearn", "evaluate")):
    pytest.importorskip(module, reason=f"the notebooks need the {extra} extra")

import nbformat
from nbclient import NotebookClient

from medimageinsight.cli.examples import example_path

NOTEBOOKS = Path(__file__).resolve().parents[2] / "docs" / "notebooks"

# What has to hold at the end of each, as expressions in its kernel.
RESULTS = {
    "search": [
        "report.added > 40 and len(report.failed) > 5",
        "by_text[0].metadata['Modality'] == 'US'",
        "by_picture[0].id == 'J2K_pixelrep_mismatch.dcm' and by_picture[0].score > 0.999",
        "len(filtered) == 5 and {hit.metadata['Modality'] for hit in filtered} == {'MR'}",
        "by_picture[0].id not in {hit.id for hit in others}",
        "any({'MR_small.dcm', 'MR_small_RLE.dcm'} == {pair.a, pair.b} for pair in pairs)",
    ],
    "comparison": [
        "alike.shape == (6, 6) and abs(alike.diagonal() - 1).max() < 1e-5",
        "texts[fits[0].argmax()] == 'computed tomography head axial'",
        "change.novelty.argmax() == len(names) - 1",
    ],
    "classification": [
        "zero_shot.shape == (2, 4) and abs(zero_shot.sum(axis=1) - 1).max() < 1e-5",
        "names[zero_shot[0].argmax()] == 'head CT' and names[zero_shot[1].argmax()] == 'breast ultrasound'",
        "answer.label == 'CT' and answer.neighbours[0].hit.path.endswith('J2K_pixelrep_mismatch.dcm')",
        "len(accuracies) == 9 and max(accuracies.values()) > 0.9",
        "abs(chances.sum() - 1) < 1e-5 and loaded.labels == ('CT', 'US')",
    ],
    "tagging": [
        "found['modality'][0]['computed tomography'].present",
        "all(sum(tag.present for tag in tags.values()) <= 1 for tags in found['modality'])",
        "tagger.names == ('CT', 'MR', 'US') and tagger.tags[0].validation.operation.sensitivity.value > 0.5",
        "by_tagger[0]['CT'].present and by_tagger[0]['CT'].threshold == tagger.tags[0].threshold",
    ],
    "evidence": [
        "neighbours.shape == (96, 5) and (groups[neighbours] != groups[:, None]).all()",
        "own.mean() > relevant.mean()",
        "outliers[-3:].all() and outliers[:-3].sum() <= 2",
        "other.p_value < 0.01 < same.p_value",
    ],
}


def test_every_notebook_is_here() -> None:
    assert {path.stem for path in NOTEBOOKS.glob("*.ipynb")} == set(RESULTS)


@pytest.mark.parametrize("name", RESULTS)
def test_it_is_kept_without_outputs(name: str) -> None:
    text = (NOTEBOOKS / f"{name}.ipynb").read_text("utf-8")
    assert "not for diagnosis or treatment" in text
    for cell in json.loads(text)["cells"]:
        if cell["cell_type"] == "code":
            assert not cell["outputs"]
            assert cell["execution_count"] is None


@pytest.mark.parametrize("name", RESULTS)
def test_it_runs_and_comes_to_its_results(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if example_path("CT_small.dcm") is None:
        pytest.skip("pydicom was installed without its test files")
    for variable in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "MPLCONFIGDIR"):
        monkeypatch.setenv(variable, str(tmp_path / variable.lower()))
    monkeypatch.setenv("MI2_MODEL", "mini")
    monkeypatch.setenv("MI2_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("PYTHONWARNINGS", os.environ.get("PYTHONWARNINGS", ""))
    notebook = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
    checks = "\n".join(f"print(bool({check}))" for check in RESULTS[name])
    notebook.cells.append(nbformat.v4.new_code_cell(checks))
    with warnings.catch_warnings():
        # pyzmq's and traitlets' own ways with event loops, not the notebook's
        warnings.filterwarnings(
            "ignore", category=DeprecationWarning, module=r"(zmq|traitlets|jupyter_client|nbclient)\b"
        )
        NotebookClient(
            notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
        ).execute()
    printed = notebook.cells[-1].outputs[0].text.split()
    assert dict(zip(RESULTS[name], printed, strict=True)) == dict.fromkeys(RESULTS[name], "True")
    shown = [one for cell in notebook.cells[:-1] for one in cell.get("outputs", ())]
    assert any("image/png" in one.get("data", {}) for one in shown)
    said = "".join(one.text for one in shown if one.output_type == "stream" and one.name == "stderr")
    assert not said
