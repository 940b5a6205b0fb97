"""Old public names still work, with a warning."""

from __future__ import annotations

import importlib
import subprocess
import sys

import numpy as np
import pytest

from medimageinsight import _deprecated
from medimageinsight._deprecated import MOVED, renamed_argument

CLASSES = {"Store", "Projection"}


@pytest.mark.parametrize("old", [name for name in MOVED if name.split(".")[-2] not in CLASSES])
def test_an_old_name_is_the_new_object(old: str) -> None:
    module, _, name = old.rpartition(".")
    new_module, _, new_name = MOVED[old].rpartition(".")
    with pytest.warns(DeprecationWarning, match=f"{name} is now"):
        found = getattr(importlib.import_module(module), name)
    assert found is getattr(importlib.import_module(new_module), new_name)


def test_from_import_of_a_module_that_no_longer_exists() -> None:
    with pytest.warns(DeprecationWarning, match="removed in"):
        from medimageinsight.tasks.adapter_file import load_adapter
    from medimageinsight.adapters import load_adapter as current

    assert load_adapter is current


def test_unknown_modules_and_names_stay_unknown() -> None:
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("medimageinsight.tasks.never_existed")
    with pytest.raises(AttributeError, match="never_existed"):
        _ = importlib.import_module("medimageinsight.tasks").never_existed


def test_nothing_is_imported_or_warned_of_before_an_old_name_is_used() -> None:
    program = "import medimageinsight, sys; print(*sorted(m for m in sys.modules if m.startswith('medimageinsight')))"
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout.split() == [
        "medimageinsight",
        "medimageinsight._deprecated",
        "medimageinsight._lazy",
        "medimageinsight.errors",
        "medimageinsight.version",
    ]


def test_an_old_method_that_became_a_function_gets_the_object(monkeypatch: pytest.MonkeyPatch) -> None:
    class Mean(_deprecated.OldMethods):
        def total(self) -> int:
            return 7

    owner = f"{__name__.rpartition('.')[0]}.{Mean.__qualname__}"
    monkeypatch.setitem(MOVED, f"{owner}.sum_up", f"{owner}.total")
    monkeypatch.setitem(MOVED, f"{owner}.to_list", "builtins.isinstance")
    with pytest.warns(DeprecationWarning, match="sum_up is now"):
        assert Mean().sum_up() == 7
    with pytest.warns(DeprecationWarning, match="to_list is now"):
        assert Mean().to_list(Mean)
    with pytest.raises(AttributeError, match="'Mean' object has no attribute 'no_such'"):
        _ = Mean().no_such


def test_a_renamed_argument_is_accepted_by_its_old_name() -> None:
    @renamed_argument("axis_number", "axis")
    def mean(values: object, *, axis: int) -> object:
        return np.mean(values, axis=axis)

    with pytest.warns(DeprecationWarning, match="axis_number of mean is now axis"):
        assert mean([[1, 3]], axis_number=1)[0] == 2
    assert mean([[1, 3]], axis=1)[0] == 2
