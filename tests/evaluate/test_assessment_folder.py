"""The folder of an assessment: Markdown, self-contained HTML, plots and JSON."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import pytest
from PIL import Image

from medimageinsight.errors import InputError
from medimageinsight.evaluate import (
    AssessmentSettings,
    EvaluationSettings,
    assess,
    card_section,
    compare,
    write_assessment,
)
from medimageinsight.evaluate.sections.published import EVALUATION_PAGE, find_published
from tests.evaluate.sample_tables import make_embedded, make_table

pytest.importorskip("sklearn", reason="needs scikit-learn")
pytest.importorskip("matplotlib", reason="needs matplotlib")
SETTINGS = AssessmentSettings(evaluation=EvaluationSettings(resamples=20), permutations=20)
VOID = {"meta", "br", "hr", "img", "link", "input"}


class Page(HTMLParser):
    """Checks that tags are closed in order, and collects references."""

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.ids, self.references, self.text = [], [], [], [], []

    def handle_starttag(self, tag, attributes):
        named = dict(attributes)
        self.tags.append((tag, named))
        self.ids += [named["id"]] if "id" in named else []
        self.references += [value for name, value in attributes if name in ("href", "src", "xlink:href", "data")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    table = make_table(sources=("chest <b> 胸 $\\x{$", "GastroVision"), count=24, per_patient=1)
    sexes = ["female" if n % 2 else "male" for n in range(len(table))]
    pair = [make_embedded(table, noise=noise) for noise in (2.0, 3.0)]
    assessed = [
        assess(embedded, settings=SETTINGS, groups={"sex": sexes}, name=name, command="mi2 evaluate t.csv")
        for embedded, name in zip(pair, ("first", "second"), strict=True)
    ]
    comparison = compare(pair[0], assessed[0], pair[1], assessed[1])
    path = tmp_path_factory.mktemp("out") / "report"
    return write_assessment(assessed[0], path, comparison=comparison, other=assessed[1])


def test_all_files_are_written(folder):
    plots = {"methods", "precision", "reliability", "differences", "groups_1"}
    plots |= {f"{kind}_{method}" for kind in ("roc", "confusion") for method in ("zero_shot", "knn", "linear_probe")}
    assert {path.name for path in folder.iterdir()} == {
        "report.json",
        "report.md",
        "report.html",
        "confusion.csv",
        *(f"{plot}.png" for plot in plots),
    }
    for plot in plots:
        with Image.open(folder / f"{plot}.png") as image:
            assert len(image.convert("RGB").getcolors(1 << 20)) > 3
    data = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    assert data["model"] == "first"
    assert data["against"]["model"] == "second"
    assert data["comparison"]["differences"]
    markdown = (folder / "report.md").read_text(encoding="utf-8")
    assert all(f"]({plot}.png)" in markdown for plot in plots)
    assert r"| linear probe, chest \<b> 胸 $\x{$: inverse L2 penalty |" in markdown
    assert "| the val split |" in markdown


def test_page_is_well_formed_and_self_contained(folder):
    text = (folder / "report.html").read_text(encoding="utf-8")
    page = Page()
    page.feed(text)
    page.close()
    assert page.open == []
    assert len(page.ids) == len(set(page.ids))
    assert page.references
    assert all(link.startswith("#") and link[1:] in page.ids for link in page.references)
    assert all(name.startswith("#") for name in re.findall(r"url\(([^)]*)\)", text))
    assert not re.search(r"https?:|//|@import|<script|javascript:", re.sub(r"<style>.*?</style>", "", text, flags=re.S))
    assert "chest &lt;b&gt;" in text
    labelled = {named["aria-labelledby"] for _, named in page.tags if "aria-labelledby" in named}
    assert labelled <= set(page.ids)
    tables = [tag for tag, _ in page.tags].count("table")
    assert tables == [tag for tag, _ in page.tags].count("caption") > 10
    assert {named["scope"] for tag, named in page.tags if tag == "th"} == {"col", "row"}
    assert all(named.get("aria-label") for tag, named in page.tags if tag == "svg")
    assert ("html", {"lang": "en"}) in page.tags
    assert "prefers-color-scheme: dark" in text
    assert "currentColor" in text


def test_no_file_names_an_image_or_a_patient(folder):
    for name in ("report.json", "report.md", "report.html"):
        text = (folder / name).read_text(encoding="utf-8")
        assert "secret" not in text
        assert "/test/" not in text


def test_published_figures_are_in_the_row_of_their_test_set(folder):
    assert find_published("rsna_bone_age_male").mean_auc_onnx == 93.47
    assert find_published("kermany_cxr") is None
    assert len({row.name for row in EVALUATION_PAGE}) == 5
    markdown = (folder / "report.md").read_text(encoding="utf-8")
    row = next(line for line in markdown.splitlines() if line.startswith("| GastroVision") and "77.61" in line)
    assert "| 3,200 | 77.61 | 76.77 |" in row
    assert r"| chest \<b> 胸 $\x{$ | 72 |" in markdown


def test_occupied_folder_and_failure_change_nothing(folder, tmp_path, monkeypatch):
    found = assess(make_embedded(make_table()), settings=SETTINGS)
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="choose another"):
        write_assessment(found, tmp_path)
    earlier = (folder / "report.html").read_bytes()

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr("medimageinsight.evaluate.assessment_folder.to_html", fail)
    with pytest.raises(OSError, match="disk full"):
        write_assessment(found, folder)
    assert (folder / "report.html").read_bytes() == earlier
    assert [path.name for path in folder.parent.iterdir()] == ["report"]


def test_card_has_the_methods_and_their_splits():
    found = assess(make_embedded(make_table()), settings=SETTINGS)
    text = card_section(found)
    assert "| linear probe |" in text
    assert "their settings chosen on the val split" in text
    assert card_section(found.report) in text
