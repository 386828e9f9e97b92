"""Running the contenders of a comparison: one after the other in this process, or in processes, each on one core."""

import signal
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from multiprocessing import active_children, get_context

from riemannrnn.comparison.contenders import Contender
from riemannrnn.comparison.contest import run_contender
from riemannrnn.comparison.entry import FAILED, Entry
from riemannrnn.cost.task import Task
from riemannrnn.progress import Progress, ignore
from riemannrnn.runtime import one_core


@dataclass(frozen=True)
class Rules:
    """The options that all contenders share; attributes as for `compare`."""

    task: Task
    budget: int
    learning_rates: tuple[float, ...]
    max_seconds: float


def in_turn(
    contenders: Sequence[Contender], rules: Rules, report: Callable[[Contender, float], None]
) -> Generator[Entry, None, None]:
    """Yield the rows of contenders, one after the other."""
    for contender in contenders:
        yield _entry(contender, rules, partial(report, contender))


def in_processes(contenders: Sequence[Contender], rules: Rules, workers: int) -> Generator[Entry, None, None]:
    """Yield the rows of contenders as they end in processes. A contender with a killed process is a failure."""
    before = set(active_children())
    count = min(workers, len(contenders)) or 1
    pool = ProcessPoolExecutor(count, get_context("spawn"), _leave_ctrl_c_to_the_parent)
    try:
        running = {pool.submit(_entry, contender, rules): contender for contender in contenders}
        for future in as_completed(running):
            yield _result(future, running[future])
    except BaseException:  # for example Ctrl-C, here or in the caller: do not wait for what still runs
        for process in set(active_children()) - before:
            process.terminate()  # only the pool joins its processes: a second thread could miss that one has ended
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _entry(contender: Contender, rules: Rules, progress: Progress = ignore) -> Entry:
    with one_core():
        return run_contender(contender, rules.task, rules.budget, rules.learning_rates, progress, rules.max_seconds)


def _leave_ctrl_c_to_the_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _result(future: Future[Entry], contender: Contender) -> Entry:
    try:
        return future.result()
    except BrokenProcessPool:
        return Entry(contender, stopped=f"{FAILED}a process was killed, perhaps for lack of memory; use fewer workers.")
