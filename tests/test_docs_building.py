"""What the documentation makes from the code: notebooks with the outputs of the gallery, and pictures of metrics."""

import base64
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from blocks import ROOT

from riemannrnn.metrics.catalogue import CATALOGUE

sys.path.insert(0, str(ROOT / "docs"))

import executed_notebooks
import metric_pictures

PAGE = """
.. GENERATED FROM PYTHON SOURCE LINES 1-3

.. code-block:: Python

    print("two")
    print("lines")

.. rst-class:: sphx-glr-script-out

 .. code-block:: none

    two
      lines

.. GENERATED FROM PYTHON SOURCE LINES 4-4

A text.

.. GENERATED FROM PYTHON SOURCE LINES 5-5

.. code-block:: Python

    plt.show()

.. image-sg:: /gallery/images/picture.png
"""


def notebook(*sources: str) -> dict:
    return {"cells": [{"cell_type": "code", "source": [source], "outputs": []} for source in sources]}


def test_a_notebook_gets_the_outputs_of_its_page(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "picture.png").write_bytes(b"a picture")
    content = notebook("print", "plt.show()")
    executed_notebooks.filled(content, PAGE, tmp_path)
    text, picture = (cell["outputs"] for cell in content["cells"])
    assert [output["text"] for output in text] == [["two\n", "  lines"]]
    assert base64.b64decode(picture[0]["data"]["image/png"]) == b"a picture"
    assert [cell["execution_count"] for cell in content["cells"]] == [1, 2]
    json.dumps(content)


def test_a_page_with_other_blocks_than_its_notebook_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="2 blocks of code and its notebook 1"):
        executed_notebooks.filled(notebook("print"), PAGE, tmp_path)


def test_every_metric_with_a_picture_is_in_the_catalogue() -> None:
    assert metric_pictures.EDGES.keys() <= CATALOGUE.keys()
    assert CATALOGUE.keys() - metric_pictures.EDGES.keys() == {"low-rank"}  # its points are not weights on a plane


def test_an_ellipse_has_the_length_one() -> None:
    """One in the metric, all around: also where the metric is not Euclidean."""
    plane, inner_product = metric_pictures.CHAIN, metric_pictures.metric("resolvent")
    outline = metric_pictures.unit_ellipse(plane, inner_product, -0.5, 0.7)
    W = plane.weights(-0.5, 0.7)
    changes = np.tensordot(outline.T, plane.basis(), 1)
    np.testing.assert_allclose([inner_product(W, V, V) for V in changes], 1.0)


def test_the_scaled_metric_is_at_most_the_monotone_metric() -> None:
    """Scales are more ways to change W, so that no change of W is longer than without them."""
    plane = metric_pictures.LOOP
    scaled, monotone = metric_pictures.metric("scaled-monotone"), metric_pictures.metric("monotone")
    W = plane.weights(-0.4, 0.6)
    for V in plane.basis():
        assert scaled(W, V, V) < monotone(W, V, V)


def test_a_picture_has_ellipses_a_geodesic_and_the_edge() -> None:
    figure = metric_pictures.picture("dale")
    (axes,) = figure.axes
    assert axes.images, "the shaded region"
    (labels,) = [[text.get_text() for text in legend.get_texts()] for legend in figure.legends]
    assert {"changes of one length", "a geodesic", "I − G W loses rank"} <= set(labels)
