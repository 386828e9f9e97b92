"""A comparison in processes: the same rows to the bit as in this process, and the effect of a process that ends early."""

from multiprocessing import active_children

import numpy as np
import pytest
from test_comparison import BUDGET, ONE_OF_EACH_KIND, RATES, tiny_task

from riemannrnn.comparison import compare, running
from riemannrnn.comparison.contenders import choose_contenders
from riemannrnn.runtime import parts

CHOSEN = choose_contenders(ONE_OF_EACH_KIND)


def rows(comparison):
    """Return everything in the rows of a comparison except the seconds."""
    tables = [{name: value for name, value in entry.as_row().items() if "seconds" not in name} for entry in comparison.entries]
    histories = [[(each.evaluations, each.loss, each.test_accuracy) for each in entry.history] for entry in comparison.entries]
    return tables, histories, [np.asarray(entry.weights) for entry in comparison.entries]


@pytest.mark.parametrize("workers", [1, 2])
def test_processes_give_the_same_rows_in_the_same_order(workers):
    ended = []
    comparison = compare(tiny_task(), CHOSEN, BUDGET, RATES, lambda *told: ended.append(told), workers=workers)
    np.testing.assert_equal(rows(comparison), rows(compare(tiny_task(), CHOSEN, BUDGET, RATES)))
    assert [entry.contender for entry in comparison.entries] == list(CHOSEN)
    assert sorted(ended, key=lambda told: CHOSEN.index(told[0])) == [(contender, 1.0) for contender in CHOSEN]
    assert not active_children()


def test_a_contender_has_one_core(monkeypatch):
    seen = []
    run = running.run_contender
    monkeypatch.setattr(running, "run_contender", lambda *arguments: seen.append(parts()) or run(*arguments))
    compare(tiny_task(), CHOSEN[-1:], 2, RATES)
    assert seen == [1]


def test_ctrl_c_keeps_finished_results_and_ends_the_processes():
    def progress(contender, share):
        raise KeyboardInterrupt

    comparison = compare(tiny_task(), choose_contenders([]), BUDGET, RATES, progress, workers=2)
    assert comparison.interrupted
    assert len(comparison.entries) == 1
    assert not active_children()


def test_a_process_that_is_killed_is_a_failure():
    def progress(contender, share):
        for process in active_children():
            process.kill()  # it may have ended already

    comparison = compare(tiny_task(), choose_contenders([]), BUDGET, RATES, progress, workers=2)
    assert not comparison.interrupted
    reasons = {entry.stopped for entry in comparison.entries}
    assert "Failed: a process was killed, perhaps for lack of memory; use fewer workers." in reasons
    assert f"Used its {BUDGET} evaluations." in reasons


def test_a_negative_number_of_workers():
    with pytest.raises(ValueError, match="workers = -1 is negative"):
        compare(tiny_task(), CHOSEN, workers=-1)
