"""The folder: Markdown, HTML that needs nothing else, plots and JSON."""

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
from medimageinsight.evaluate.published import EVALUATION_PAGE, published
from medimageinsight.reports.markdown import plain
from tests.evaluate.made_embedded import made_embedded, made_table

pytest.importorskip("sklearn", reason="needs scikit-learn")
pytest.importorskip("matplotlib", reason="needs matplotlib")
SETTINGS = AssessmentSettings(evaluation=EvaluationSettings(resamples=20), permutations=20)
VOID = {"meta", "br", "hr", "img", "link", "input"}


class Page(HTMLParser):
    """Checks that tags are closed in order, and collects what the page refers to."""

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.ids, self.references, self.text = [], [], [], [], []

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.tags.append((tag, found))
        self.ids += [found["id"]] if "id" in found else []
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
    table = made_table(sources=("chest <b> 胸 $\\x{$", "GastroVision"), count=24, per_patient=1)
    sexes = ["female" if n % 2 else "male" for n in range(len(table))]
    pair = [made_embedded(table, noise=noise) for noise in (2.0, 3.0)]
    found = [
        assess(one, settings=SETTINGS, groups={"sex": sexes}, name=name, command="mi2 evaluate t.csv")
        for one, name in zip(pair, ("first", "second"), strict=True)
    ]
    comparison = compare(pair[0], found[0], pair[1], found[1])
    return write_assessment(found[0], tmp_path_factory.mktemp("out") / "report", comparison=comparison, other=found[1])


def test_everything_is_there(folder):
    plots = {"methods", "precision", "reliability", "differences", "groups_1"}
    plots |= {"roc_zero_shot", "roc_knn", "roc_linear_probe"}
    assert {one.name for one in folder.iterdir()} == {
        "report.json",
        "report.md",
        "report.html",
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


def test_the_page_is_well_formed_and_refers_to_nothing_outside(folder):
    text = (folder / "report.html").read_text(encoding="utf-8")
    page = Page()
    page.feed(text)
    page.close()
    assert page.open == []
    assert len(page.ids) == len(set(page.ids))
    assert page.references
    assert all(one.startswith("#") and one[1:] in page.ids for one in page.references)
    assert all(name.startswith("#") for name in re.findall(r"url\(([^)]*)\)", text))
    assert not re.search(r"https?:|//|@import|<script|javascript:", re.sub(r"<style>.*?</style>", "", text, flags=re.S))
    assert "chest &lt;b&gt;" in text
    labelled = {found["aria-labelledby"] for _, found in page.tags if "aria-labelledby" in found}
    assert labelled <= set(page.ids)
    tables = [tag for tag, _ in page.tags].count("table")
    assert tables == [tag for tag, _ in page.tags].count("caption") > 10
    assert {found["scope"] for tag, found in page.tags if tag == "th"} == {"col", "row"}
    assert all(found.get("aria-label") for tag, found in page.tags if tag == "svg")
    assert ("html", {"lang": "en"}) in page.tags
    assert "prefers-color-scheme: dark" in text
    assert "currentColor" in text


def test_nothing_is_of_a_single_picture_or_patient(folder):
    for name in ("report.json", "report.md", "report.html"):
        text = (folder / name).read_text(encoding="utf-8")
        assert "secret" not in text
        assert "/test/" not in text


def test_published_figures_stand_beside_the_sets_they_are_of(folder):
    assert published("rsna_bone_age_male").mean_auc_onnx == 93.47
    assert published("kermany_cxr") is None
    assert len({one.name for one in EVALUATION_PAGE}) == 5
    markdown = (folder / "report.md").read_text(encoding="utf-8")
    row = next(line for line in markdown.splitlines() if line.startswith("| GastroVision") and "77.61" in line)
    assert "| 3,200 | 77.61 | 76.77 |" in row
    assert r"| chest \<b> 胸 $\x{$ | 72 |" in markdown


def test_an_occupied_folder_and_a_failure_leave_all_as_it_was(folder, tmp_path, monkeypatch):
    found = assess(made_embedded(made_table()), settings=SETTINGS)
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="choose another"):
        write_assessment(found, tmp_path)
    earlier = (folder / "report.html").read_bytes()

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr("medimageinsight.evaluate.folder.as_html", fail)
    with pytest.raises(OSError, match="disk full"):
        write_assessment(found, folder)
    assert (folder / "report.html").read_bytes() == earlier
    assert [one.name for one in folder.parent.iterdir()] == ["report"]


def test_a_card_says_how_the_methods_were_chosen():
    found = assess(made_embedded(made_table()), settings=SETTINGS)
    text = card_section(found)
    assert "| linear probe |" in text
    assert "chosen on the val split" in text
    assert card_section(found.report) in text


def test_a_name_is_no_markup_in_markdown():
    assert plain("<b> x\n# y ![z](http://a/b.png) <!-- c") == r"\<b> x # y \![z](http://a/b.png) \<!-- c"
    assert plain("p < 0.05") == "p < 0.05"
