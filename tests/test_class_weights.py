"""Weights of classes in the classifier, as scikit-learn defines them."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.datasets import make_blobs
from sklearn.preprocessing import StandardScaler
from sklearn.utils.class_weight import compute_sample_weight

from riemannrnn import FixedPointClassifier

GENERATOR = np.random.default_rng(0)
LABELS = np.array(["rare"] * 8 + ["often"] * 52 + ["seldom"] * 20)
X = GENERATOR.standard_normal((80, 3)) + 0.7 * (LABELS == "rare")[:, None]
OWN = GENERATOR.integers(1, 4, 80)


def fitted(sample_weight=None, y=LABELS, **options):
    model = FixedPointClassifier(n_units=12, epochs=6, batch_size=80, random_state=0, **options)
    return model.fit(X, y, sample_weight=sample_weight)


@pytest.mark.parametrize("class_weight", ["balanced", {"rare": 5.0}, {"rare": 2, "often": 0.5, "seldom": 0}])
@pytest.mark.parametrize("own", [None, OWN])
def test_class_weights_are_sample_weights(class_weight, own):
    expected = compute_sample_weight(class_weight, LABELS) * (1 if own is None else own)
    assert_allclose(fitted(own, class_weight=class_weight).weights_, fitted(expected).weights_, rtol=1e-10)


def test_balanced_classes_find_rare_ones():
    plain, balanced = fitted(), fitted(class_weight="balanced")
    rare = LABELS == "rare"
    assert (balanced.predict(X)[rare] == "rare").mean() > (plain.predict(X)[rare] == "rare").mean()


@pytest.mark.parametrize("classes", [2, 3])
def test_a_class_with_all_of_the_weight_is_predicted(classes):
    """The check of scikit-learn, with features of variance 1."""
    stimuli, labels = make_blobs(centers=classes, random_state=0, cluster_std=20)
    stimuli = StandardScaler().fit_transform(stimuli)
    weights = {0: 1000.0, **dict.fromkeys(range(1, classes), 0.0001)}
    model = FixedPointClassifier(n_units=20, epochs=30, batch_size=50, random_state=0, class_weight=weights)
    assert (model.fit(stimuli[:50], labels[:50]).predict(stimuli[50:]) == 0).mean() > 0.87


def test_numbers_as_labels():
    numbers = np.unique(LABELS, return_inverse=True)[1]
    assert_array_equal(
        fitted(y=numbers, class_weight={0: 1, 1: 3.0, 2: 1.0}).weights_, fitted(class_weight={"rare": 3.0}).weights_
    )


def test_a_parameter_of_scikit_learn():
    model = FixedPointClassifier(n_units=7, class_weight={"rare": 2.0}, epochs=3)
    assert model.get_params()["class_weight"] == {"rare": 2.0}
    assert clone(model).get_params() == model.get_params()
    assert model.set_params(class_weight=None).class_weight is None
    assert model.get_params()["n_units"] == 7
    with pytest.raises(TypeError, match="class_weights"):
        FixedPointClassifier(class_weights="balanced")


@pytest.mark.parametrize(
    ("class_weight", "message"),
    [
        ("even", "class_weight = 'even' is not known; pass weights by label, 'balanced' or None"),
        ([1.0, 2.0, 3.0], r"class_weight = \[1.0, 2.0, 3.0\] is not known"),
        ({"rarer": 2.0}, r"The classes, \['often', 'rare', 'seldom'\], are not in class_weight"),
        ({"rare": -1.0}, r"weight -1\.0 of stimulus 0 is negative"),
        (dict.fromkeys(("rare", "often", "seldom"), 0.0), "weights that are not all zero"),
    ],
)
def test_invalid_class_weights(class_weight, message):
    with pytest.raises(ValueError, match=message):
        fitted(class_weight=class_weight)


def test_batches_of_partial_fit():
    weighted = FixedPointClassifier(n_units=12, random_state=0, class_weight={"rare": 3.0})
    expected = FixedPointClassifier(n_units=12, random_state=0)
    weighted.partial_fit(X, LABELS, np.unique(LABELS))
    expected.partial_fit(X, LABELS, np.unique(LABELS), np.where(LABELS == "rare", 3.0, 1.0))
    assert_allclose(weighted.weights_, expected.weights_, rtol=1e-10)
    with pytest.raises(ValueError, match="class_weight = 'balanced' needs the numbers of all samples"):
        weighted.set_params(class_weight="balanced").partial_fit(X, LABELS)
