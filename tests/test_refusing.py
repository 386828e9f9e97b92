"""Checks that refusing arrays refuse NumPy, because other tests rely on it."""

import numpy as np
import pytest
from array_api_compat import array_namespace
from refusing import RefusingArray, namespace

from riemannrnn import to_backend

HERE = np.arange(4.0).reshape(2, 2)


@pytest.fixture
def there():
    return to_backend(HERE, namespace)


@pytest.mark.parametrize(
    "use",
    [
        np.asarray,
        np.array,
        np.sqrt,
        np.copy,
        np.concatenate,
        np.linalg.norm,
        memoryview,
        float,
        bool,
        hash,
        lambda a: HERE + a,
        lambda a: a + HERE,
        lambda a: a @ HERE,
        lambda a: HERE @ a,
        lambda a: a == HERE,
        lambda a: a[np.array([0])],
        HERE.__iadd__,
        lambda a: HERE.__setitem__(0, a[0]),
        lambda a: namespace.where(a > 0, a, HERE),
        lambda a: array_namespace(a, HERE),
    ],
)
def test_numpy_refuses_arrays_of_another_library(there, use):
    with pytest.raises(TypeError):
        use(there)


def test_what_moves_is_counted(there):
    before = RefusingArray.uploads, RefusingArray.downloads
    np.testing.assert_array_equal(to_backend(there, "numpy"), HERE)
    assert to_backend(there, namespace) is there
    to_backend(HERE, namespace)
    assert (RefusingArray.uploads - before[0], RefusingArray.downloads - before[1]) == (1, 1)


def test_numbers_pass(there):
    assert float(namespace.sum(there)) == HERE.sum()
    assert (np.float64(2.0) * there).get().tolist() == (2 * HERE).tolist()
    assert np.isnan(namespace.linalg.inv(namespace.zeros((2, 2))).get()).all()
