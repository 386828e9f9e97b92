"""All manifolds check arguments in the same way: wrong ones raise a clear error, at every position of every method."""

import dis
import re

import array_api_strict as strict
import numpy as np
import pytest
from cases import CALLS, CASES, N, short_vector

from manifolds import InvalidArrayError, Resolvent, SignedLog

DOUBLES = [case for case in CASES if case.dtype is np.float64]
SHAPES = rf"of shape \(.*\): .* has shape \(({N}, {N}|2, 2, 3, 2)\)"

WRONG = {
    "list": (lambda array: array.tolist(), "of type list: manifolds compute with plain arrays.*asarray"),
    "masked": (lambda array: np.ma.masked_array(array, array > 0), "of type MaskedArray: .*mask .* would be lost.*Fill in"),
    "matrix": (lambda array: array.view(np.matrix), "of type matrix: manifolds compute with plain arrays"),
    "number": (lambda array: 1.0, "of type float: manifolds compute with plain arrays"),
    "nothing": (lambda array: None, "of type NoneType: manifolds compute with plain arrays"),
    "integers": (lambda array: np.ones_like(array, dtype=int), "of dtype int64: .*float32 or float64.*astype"),
    "half": (lambda array: array.astype(np.float16), "of dtype float16: .*float32 or float64.*astype"),
    "complex": (lambda array: array + 0j, "of dtype complex128: .*float32 or float64.*astype"),
    "shape": (lambda array: array[:, :-1], SHAPES),
    "broadcast": (lambda array: array[:1], SHAPES),
    "batch": (lambda array: array[None], SHAPES),
}
"""Faults of an argument, and the text of the error."""

MIXED = {
    "dtype": (lambda array: array.astype(np.float32), "of dtype float(32|64): .* of one dtype"),
    "library": (strict.asarray, "of type .*: .*arrays of one library"),
}
"""Faults of one argument relative to the others."""

METHODS = {
    **{name: call for name, call in CALLS.items() if name != "random point"},
    "retraction": lambda m, W, W2, V: m.retraction(W, V),
    "distance back": lambda m, W, W2, V: m.dist(W2, W),
    "parallel transport": lambda m, W, W2, V: m.parallel_transport(W, V, V),
    "point at": lambda m, W, W2, V: m.point_at(W),
    "geodesic": lambda m, W, W2, V: m.geodesic(W, V)(0.5),
    "sharp factors": lambda m, W, W2, V: m.sharp_factors(W),
    "to tangent space": lambda m, W, W2, V: m.to_tangent_space(W, V),
}


PLACES = {"W": 1, "W2": 2, "V": 3}


def places_of(call):
    """Return the positions of the arrays that a call reads, from its code."""
    names = {instruction.argval for instruction in dis.get_instructions(call) if instruction.opname.startswith("LOAD_FAST")}
    return [place for name, place in PLACES.items() if name in names]


@pytest.mark.parametrize("case", DOUBLES, ids=str)
def test_wrong_arguments_are_refused_in_every_place(case):
    manifold = case.manifold()
    W = manifold.random_point()
    V = short_vector(manifold, W)
    arguments = [manifold, W, manifold.exp(W, V), V]
    wrong = {name: each for name, each in WRONG.items() if name != "matrix" or W.ndim == 2}
    for name, call in METHODS.items():
        places = places_of(call)
        for place in places:
            for what, (spoil, message) in {**wrong, **(MIXED if len(places) > 1 else {})}.items():
                spoiled = [spoil(each) if index == place else each for index, each in enumerate(arguments)]
                outcome = "nothing was raised"
                try:
                    call(*spoiled)
                except Exception as error:
                    outcome = f"{type(error).__name__}: {error}"
                assert re.search(f"^InvalidArrayError: .*{message}", outcome), f"{name}, {what} in place {place}: {outcome}"


@pytest.mark.parametrize("chart", [SignedLog, Resolvent])
@pytest.mark.parametrize("wrong", [[1.0, -1.0], np.ma.masked_array([1.0, -1.0], [True, False])], ids=["list", "masked"])
def test_signs_and_gains_are_checked_alike(chart, wrong):
    with pytest.raises(InvalidArrayError, match=r"of type .*: manifolds compute with plain arrays"):
        chart(wrong)
