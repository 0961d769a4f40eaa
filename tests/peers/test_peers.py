"""What other libraries do with the same gradients, recorded by `record.py`, is what specs say."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import STOCK, numpy_of, stock

from .record import FORMS, KEPT, LIBRARIES

HERE = Path(__file__).parent


def read(name: str) -> Any:
    return json.loads((HERE / f"{name}.json").read_text("utf-8"))


RECORDED = {library: read(library)["recorded"] for library in LIBRARIES}
CASES = [(library, name) for library, found in RECORDED.items() for name in found]


@pytest.mark.parametrize(("library", "name"), CASES)
def test_a_spec_moves_as_the_library_does(library: str, name: str) -> None:
    recorded, problem = RECORDED[library][name], read("problem")
    numbers, spec = recorded["numbers"], stock(name)
    made = numpy_of(spec)
    switched = "momentum" in numbers and any(o.name == "use_momentum" for o in spec.options)
    options = {"use_momentum": True} if switched else {}
    takes = inspect.signature(made.init).parameters
    p = np.array(problem["p"])
    first = {key: value for key, value in {**numbers, **options}.items() if key in takes}
    state = made.init(p, **first)
    for t, g in enumerate(np.array(problem["gradients"]), 1):
        with np.errstate(all="ignore"):  # the arm of a choice that is not taken
            p, state = made.step(p, g, state, t, **numbers, **options)
        if t in KEPT:
            np.testing.assert_allclose(p, recorded["p"][str(t)], rtol=1e-12, atol=1e-13)


def test_the_files_are_what_the_script_would_record() -> None:
    for library, (_, table, packages) in LIBRARIES.items():
        content = read(library)
        assert {*content["versions"]} == {*packages}
        assert {name: one["numbers"] for name, one in content["recorded"].items()} == {
            name: numbers for name, (numbers, _) in table.items()
        }


def test_other_forms_are_of_specs_that_are_not_compared() -> None:
    for library, forms in FORMS.items():
        assert forms.keys() <= {*STOCK}
        assert not forms.keys() & RECORDED[library].keys()


def test_all_numbers_of_a_spec_are_given_or_its_defaults() -> None:
    for library, name in CASES:
        known = {h.name for h in stock(name).hyperparameters}
        assert RECORDED[library][name]["numbers"].keys() <= known, (library, name)
