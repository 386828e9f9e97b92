"""A comparison does not compute the same fixed points twice."""

from riemannrnn.cli.compared import digits_task
from riemannrnn.comparison import contest
from riemannrnn.comparison.contenders import all_contenders


def test_the_fixed_points_of_the_test_split_are_found_once_for_a_row(monkeypatch):
    task, solved, solve = digits_task(10, 0.3, "tanh", 50, 0, "float64"), [], contest.evaluated

    def counted(task, weights, data):
        solved.append("test" if data is task.test else "training")
        return solve(task, weights, data)

    monkeypatch.setattr(contest, "evaluated", counted)
    contender = next(each for each in all_contenders() if each.name == "euclidean/additive/steepest-descent")
    score = contest.Scorekeeper(contender.begin(task), 6, lambda share: None, measurements=0)
    contest.follow_rule(next(iter(all_contenders())), score, 0.0)
    entry = contest.Entry(contender)
    contest._summarise(entry, score.start.task, score)
    assert solved == ["test"], "the training split was solved at the last accepted point"
    assert entry.test_accuracy == contest.accuracy_on_test(task, score.weights)
    assert entry.history[-1].test_accuracy == entry.test_accuracy
