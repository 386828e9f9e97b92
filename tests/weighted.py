"""A small problem for comparing losses of different numbers of rows: outputs R Cᵀ of given rates, with C learned."""

import numpy as np


def learn(loss, rates, readout, direction, found=None):
    """Return J(C) = Σ share · L(R Cᵀ), its gradient, and its Hessian along a direction."""
    outputs, change = rates @ readout.T, rates @ direction.T
    found = np.ones(len(rates), bool) if found is None else found
    shares = loss.shares(found, rates.dtype)[:, None]
    assert shares.dtype == rates.dtype
    return (
        float(np.sum(shares[:, 0] * loss.value(outputs))),
        (shares * loss.gradient(outputs)).T @ rates,
        (shares * loss.hessian(outputs, change)).T @ rates,
    )


def assert_equal(found, expected, rtol=1e-12):
    """Compare two results of `learn`."""
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=rtol, atol=rtol * max(np.abs(other).max(initial=0), 1e-300))


def repeated(counts, *arrays):
    """Return arrays with each row repeated according to its count."""
    return tuple(np.repeat(array, counts, axis=0) for array in arrays)
