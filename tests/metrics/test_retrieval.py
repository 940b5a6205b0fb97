from __future__ import annotations

import numpy as np

from medimageinsight.metrics.retrieval import has_relevant, nearest, same_label


def unit(array):
    return (array / np.linalg.norm(array, axis=1, keepdims=True)).astype(np.float32)


def test_nearest_equals_a_full_sort():
    generator = np.random.default_rng(0)
    queries, gallery = unit(generator.standard_normal((1500, 8))), unit(generator.standard_normal((60, 8)))
    expected = np.argsort(-(queries @ gallery.T), axis=1)[:, :7]
    assert (nearest(queries, gallery, 7) == expected).all()


def test_small_gallery_returns_all_items():
    gallery = np.eye(3, dtype=np.float32)
    assert nearest(gallery, gallery, 5).shape == (3, 3)


def test_image_does_not_find_its_own_patient():
    images = unit(np.array([[1, 0.0], [1, 0.1], [1, 0.2], [0, 1]]))
    groups = np.array([0, 0, 1, 2])
    found = nearest(images, images, 3, query_groups=groups, gallery_groups=groups)
    assert found[0].tolist() == [2, 3, -1]
    assert found[2].tolist() == [1, 0, 3]
    assert found[3].tolist() == [2, 1, 0]
    labels = np.array([7, 7, 7, -1])
    assert same_label(found, labels).tolist() == [
        [True, False, False],
        [True, False, False],
        [True, True, False],
        [False, False, False],
    ]


def test_queries_with_a_relevant_image_of_another_patient():
    labels = np.array([0, 0, 1, 1, 2, -1, -1])
    groups = np.array([0, 1, 2, 2, 3, 4, 5])
    assert has_relevant(labels, groups).tolist() == [True, True, False, False, False, False, False]
