"""Old names of the store's methods and arguments still work, with a warning."""

from __future__ import annotations

import numpy as np
import pytest

from medimageinsight import search
from tests.search.sample_items import item, vectors


def test_methods_that_became_functions_or_were_renamed(store):
    given = vectors(20)
    store.add([item(f"{number:02}", given[number // 2], patient=f"p{number // 4}") for number in range(20)])
    with pytest.warns(DeprecationWarning, match="find_duplicates"):
        assert store.duplicates(0.99) == search.find_duplicates(store, 0.99)
    with pytest.warns(DeprecationWarning, match="measure_recall"):
        assert store.measure_recall(k=2, sample=3).recall == 1
    with pytest.warns(DeprecationWarning, match="maintain"):
        store.tend()
    projection = search.Projection.of(store)
    with pytest.warns(DeprecationWarning, match="transform"):
        assert np.array_equal(projection.place(given), projection.transform(given))


def test_the_old_argument_is_exclude_same(store):
    store.add([item(f"{number:02}", patient=f"p{number // 4}") for number in range(8)])
    expected = store.more_like("00", exclude_same="patient", k=3)
    with pytest.warns(DeprecationWarning, match="exclude_same"):
        assert store.more_like("00", other_than_same="patient", k=3) == expected
    with pytest.warns(DeprecationWarning, match="exclude_same"):
        assert search.search(None, store, item_id="00", other_than_same="patient", k=3) == expected
