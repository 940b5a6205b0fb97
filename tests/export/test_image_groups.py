"""Images of the checked kinds are not marked, those of other kinds are, however wide the checked kinds are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from medimageinsight import MedImageInsight
from medimageinsight.bundle import ValidationStatistics, write_statistics
from medimageinsight.datasets import Sample, Table, read_table
from medimageinsight.errors import InputError
from medimageinsight.export import measure_statistics
from medimageinsight.export.image_groups import fit_groups, group_images, mark_threshold

pytest.importorskip("sklearn", reason="measuring statistics needs the evaluate extra")

WIDTHS = (0.02, 0.05, 0.3)  # of the kinds: standard deviation as a part of the mean's length


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


class Kinds:
    """Embeddings of three kinds of different width, and of made images, in any dimension."""

    def __init__(self, dim: int) -> None:
        self.means = unit(np.random.default_rng(0).standard_normal((3, dim)))
        self.made = self.draw(unit(np.random.default_rng(1).standard_normal(dim)), 0.2, 120, seed=2)

    def draw(self, mean: np.ndarray, width: float, count: int, seed: int) -> np.ndarray:
        rng = np.random.default_rng(seed)
        return unit(mean + width * rng.standard_normal((count, len(mean))) / np.sqrt(len(mean)))

    def own(self, count: int, seed: int) -> np.ndarray:
        kinds = enumerate(zip(self.means, WIDTHS, strict=True))
        return np.concatenate([self.draw(mean, width, count, seed + index) for index, (mean, width) in kinds])


@pytest.mark.parametrize(("dim", "count"), [(64, 34), (64, 400), (256, 34), (256, 400), (1024, 34)])
def test_own_kinds_are_not_marked_and_a_kind_near_a_narrow_one_is(dim: int, count: int) -> None:
    kinds = Kinds(dim)
    vectors, numbers = kinds.own(count, seed=10), np.arange(3).repeat(count)
    groups, scores = fit_groups(vectors, numbers, [""] * len(vectors), kinds.made)
    limit = mark_threshold(scores, 0.01)
    assert np.mean(groups.scores(kinds.own(1000, seed=20)) > limit) <= 0.02
    # As far from the narrow kind as usual images of the wide kind are from theirs.
    near = kinds.draw(unit(kinds.means[0] + 0.3 * kinds.means[1]), WIDTHS[0], 200, seed=30)
    assert (near @ kinds.means[0]).min() > (kinds.own(1000, seed=20)[2000:] @ kinds.means[2]).max() - 0.05
    assert np.mean(groups.scores(near) > limit) >= 0.95
    nothing = kinds.draw(unit(kinds.made.mean(axis=0)), 0.2, 200, seed=40)
    assert np.mean(groups.scores(nothing) > limit) >= 0.95


def test_images_of_a_patient_do_not_check_themselves() -> None:
    """Five copies of each image are of one patient: in other folds they would make each group look narrower."""
    kinds = Kinds(64)
    vectors, numbers = kinds.own(40, seed=10).repeat(5, axis=0), np.arange(3).repeat(200)
    patients = [f"patient {index // 5}" for index in range(len(vectors))]
    groups, scores = fit_groups(vectors, numbers, patients, kinds.made)
    marked = groups.scores(kinds.own(1000, seed=20)) > mark_threshold(scores, 0.01)
    assert marked.mean() <= 0.03


def test_a_higher_level_marks_more() -> None:
    scores = np.random.default_rng(0).standard_normal(1000)
    limits = [mark_threshold(scores, level) for level in (0.001, 0.01, 0.05)]
    assert limits == sorted(limits, reverse=True)
    fresh = np.random.default_rng(1).standard_normal(100_000)
    assert np.mean(fresh > limits[1]) == pytest.approx(0.01, abs=0.006)
    assert mark_threshold(np.zeros(100), 0.01) == 0


def sample(caption: str, **columns: str) -> Sample:
    return Sample(path=Path("image.png"), caption=caption, **columns)


def test_groups_are_those_of_the_columns_else_of_the_captions() -> None:
    vectors = Kinds(64).own(20, seed=1)
    columns = [sample(str(index), source="a", modality=("x-ray", "ct", "mr")[index // 20]) for index in range(60)]
    captions = [sample(("x-ray", "ct", "mr")[index // 20]) for index in range(60)]
    for samples in (columns, captions):
        numbers = group_images(samples, vectors)
        assert [len(set(numbers[start : start + 20].tolist())) for start in (0, 20, 40)] == [1, 1, 1]
        assert len(set(numbers.tolist())) == 3


def test_small_groups_are_joined_and_divided_by_their_embeddings() -> None:
    vectors = Kinds(64).own(40, seed=1)
    numbers = group_images([sample(f"a text of its own, {index}") for index in range(120)], vectors)
    assert 3 <= len(set(numbers.tolist())) <= 6
    assert {
        len(set(numbers[start : start + 40].tolist()) & set(numbers[: start or 1].tolist())) for start in (40, 80)
    } == {0}


def test_many_groups_of_long_embeddings_stay_below_a_megabyte(tmp_path: Path, toy_bundle: Path) -> None:
    rng = np.random.default_rng(0)
    vectors = unit(rng.standard_normal((1200, 1024)))
    numbers = group_images([sample(str(index // 12)) for index in range(1200)], vectors)
    groups, scores = fit_groups(vectors, numbers, [""] * 1200, unit(rng.standard_normal((120, 1024))))
    with MedImageInsight.load(toy_bundle) as model:
        identity = model.identity
    statistics = ValidationStatistics(
        model=identity, groups=groups, threshold=mark_threshold(scores, 0.01), level=0.01, images=1200, data={}
    )
    write_statistics(tmp_path / "statistics.json", statistics)
    assert (tmp_path / "statistics.json").stat().st_size < 1_000_000


@pytest.mark.parametrize("level", [0.0, 0.1, 1.0, float("nan")])
def test_a_level_out_of_range_is_refused(toy_bundle: Path, level: float) -> None:
    with MedImageInsight.load(toy_bundle) as model, pytest.raises(InputError, match="level above 0"):
        measure_statistics(model, Table(samples=(), root=Path()), level=level)


def test_real_kinds_that_are_not_in_the_statistics_are_marked(shared: Path) -> None:
    medmix = read_table(shared / "data" / "medmix" / "medmix.parquet")
    medmix2 = read_table(shared / "data" / "medmix2" / "medmix2.parquet")
    sources = ("kermany_cxr", "busi", "idrid", "pbc_blood")

    def choose(table: Table, split: str, names: tuple[str, ...], count: int) -> list[Sample]:
        rows = table.of_split(split)
        return [row for name in names for row in [row for row in rows if row.source == name][:count]]

    checked = Table(samples=tuple(choose(medmix, "val", sources, 30)), root=medmix.root)
    with MedImageInsight.load("mini") as model:
        statistics = measure_statistics(model, checked)
        own = model.embed_images([row.lazy_source() for row in choose(medmix, "test", sources, 30)])
        others = [*choose(medmix, "test", ("knee_kl", "isic_uda1"), 30), *choose(medmix2, "train", ("kvasir_seg",), 30)]
        unseen = model.embed_images([row.lazy_source() for row in others])
        blank = model.embed_images([np.full((90, 120, 3), value, np.uint8) for value in range(5, 256, 10)])
    assert np.mean(statistics.unlike(own)) <= 0.08
    assert np.mean(statistics.unlike(unseen)) >= 0.8
    assert np.mean(statistics.unlike(blank)) >= 0.8
