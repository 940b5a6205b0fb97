"""Every notebook runs from top to bottom in a real kernel and gives the results that its text states."""

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

# Expressions that must be true in its kernel at the end of each notebook.
RESULTS = {
    "search": [
        "report.added > 40 and len(report.failed) > 5",
        "by_text[0].metadata['Modality'] == 'US'",
        "by_image[0].id == 'J2K_pixelrep_mismatch.dcm' and by_image[0].score > 0.999",
        "len(filtered) == 5 and {hit.metadata['Modality'] for hit in filtered} == {'MR'}",
        "by_image[0].id not in {hit.id for hit in others}",
        "any({'MR_small.dcm', 'MR_small_RLE.dcm'} == {pair.a, pair.b} for pair in pairs)",
    ],
    "comparison": [
        "similarity.shape == (6, 6) and abs(similarity.diagonal() - 1).max() < 1e-5",
        "texts[fits[0].argmax()] == 'computed tomography head axial'",
        "change.novelty.argmax() == len(names) - 1",
    ],
    "classification": [
        "zero_shot.shape == (2, 4) and abs(zero_shot.sum(axis=1) - 1).max() < 1e-5",
        "names[zero_shot[0].argmax()] == 'head CT' and names[zero_shot[1].argmax()] == 'breast ultrasound'",
        "answer.label == 'CT' and answer.neighbours[0].hit.path.endswith('J2K_pixelrep_mismatch.dcm')",
        "len(accuracies) == 9 and max(accuracies.values()) > 0.9",
        "abs(probabilities.sum() - 1) < 1e-5 and loaded.labels == ('CT', 'US')",
    ],
    "tagging": [
        "tags_by_vocabulary['modality'][0]['computed tomography'].present",
        "all(sum(tag.present for tag in tags.values()) <= 1 for tags in tags_by_vocabulary['modality'])",
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


def test_every_notebook_has_expected_results() -> None:
    assert {path.stem for path in NOTEBOOKS.glob("*.ipynb")} == set(RESULTS)


@pytest.mark.parametrize("name", RESULTS)
def test_notebook_is_stored_without_outputs(name: str) -> None:
    text = (NOTEBOOKS / f"{name}.ipynb").read_text("utf-8")
    assert "not for diagnosis or treatment" in text
    for cell in json.loads(text)["cells"]:
        if cell["cell_type"] == "code":
            assert not cell["outputs"]
            assert cell["execution_count"] is None


@pytest.mark.parametrize("name", RESULTS)
def test_notebook_runs_with_the_expected_results(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
        # from pyzmq's and traitlets' event loops, not from the notebook
        warnings.filterwarnings(
            "ignore", category=DeprecationWarning, module=r"(zmq|traitlets|jupyter_client|nbclient)\b"
        )
        NotebookClient(
            notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
        ).execute()
    printed = notebook.cells[-1].outputs[0].text.split()
    assert dict(zip(RESULTS[name], printed, strict=True)) == dict.fromkeys(RESULTS[name], "True")
    outputs = [output for cell in notebook.cells[:-1] for output in cell.get("outputs", ())]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert not [output for output in outputs if output.output_type == "stream" and output.name == "stderr"]
