"""The printed form of public objects: one to three lines, and a small table in notebooks."""

import re
import warnings

import pytest
from public_objects import OBJECTS, public_classes

IN_NOTEBOOKS = (
    "history", "history of no step", "fixed points", "network", "comparison", "pullback", "scaled monotone", "fixed rank",
    "metric of one's own", "circulant", "signed logarithm", "cross-entropy", "cost", "data", "path",
)  # fmt: skip


@pytest.mark.parametrize("name", OBJECTS)
def test_every_public_object_prints_in_a_few_lines(name):
    printed = repr(OBJECTS[name]())
    assert len(printed.splitlines()) <= 3
    assert 3 < len(printed) <= 400
    assert not re.search(r" at 0x|<function|<lambda>|array\(|np\.", printed), printed


def test_every_public_class_is_tested():
    seen = {type(make()) for make in OBJECTS.values()}
    assert not [name for name, each in public_classes().items() if each not in seen]


@pytest.mark.parametrize("name", IN_NOTEBOOKS)
def test_notebooks_get_a_table(name):
    html = OBJECTS[name]()._repr_html_()
    assert html.startswith("<table>")
    assert 50 < len(html) < 2500
    assert " at 0x" not in html
    assert html.count("<tr>") == html.count("</tr>")


@pytest.mark.parametrize(
    ("name", "facts"),
    [
        ("history", ["steps: 9", "rule: Adam", "loss: 2.", "held-out accuracy: 0.", "stopped: All 3 epochs done."]),
        ("fixed points", ["stimuli: 60", "units: 20", "converged: 60", "largest residual: "]),
        ("network", ["units: 20", "inputs: 64", "outputs: 10", "activation: tanh", "dtype: float64", "backend: numpy"]),
        ("comparison", ["contenders: 2", "budget: 6", "lowest training loss: "]),
        ("scaled monotone", ["(M, ε) of shapes (20, 20) and (20, 1)", "growth: 3.0"]),
        ("pullback", ["Resolvent manifold of 20×20 matrices", "dimension: 400"]),
        ("signed logarithm", ["units: 20", "inhibitory: 4"]),
        ("cross-entropy", ["labels: 60", "from: 0", "to: 9"]),
    ],
)
def test_printed_objects_describe_themselves(name, facts):
    made = OBJECTS[name]()
    printed, table = repr(made).replace("\n ", ""), made._repr_html_()
    for fact in facts:
        assert fact in printed
        assert fact.split(": ")[-1] in table


def test_a_table_escapes_what_a_user_named():
    from riemannrnn.data import Dataset

    data = OBJECTS["data"]()
    named = Dataset("<b>mine</b> & yours", data.stimuli, data.labels)
    assert "&lt;b&gt;mine&lt;/b&gt; &amp; yours" in named._repr_html_()


def test_printing_computes_nothing_and_warns_of_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cost = OBJECTS["cost"]()
        before = cost.evaluations.total
        repr(cost)
        assert cost.evaluations.total == before
