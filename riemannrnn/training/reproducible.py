"""Runs that are reproducible to the bit: one BLAS thread, fixed parts of batches, and a locked folder."""

from collections.abc import Callable
from contextlib import ExitStack
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from riemannrnn.run_folder import locked
from riemannrnn.runtime import divided_into, one_blas_thread, parts
from riemannrnn.training.checkpoints import recorded_cores

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def reproducible(train: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Let a function with the keyword arguments `checkpoints` and `resume` give the same bits, independently of other work.

    BLAS uses one thread throughout. With several threads it rounds differently, and their number would depend on other
    threads of the process. Batches are divided into the same parts as at the start of the run, on any number of cores,
    because products of other parts also round differently. No other process or thread can use the folder of the checkpoints
    at the same time.

    Raises
    ------
    RunInUseError
        From the returned function, if another run uses the folder.
    """

    @wraps(train)
    def run(*arguments: Arguments.args, **options: Arguments.kwargs) -> Result:
        checkpoints: Any = options.get("checkpoints")
        with ExitStack() as around:
            around.enter_context(one_blas_thread())
            count = parts()
            if checkpoints is not None:
                around.enter_context(locked(Path(checkpoints)))
                if options.get("resume"):
                    count = recorded_cores(Path(checkpoints)) or count
            around.enter_context(divided_into(count))
            return train(*arguments, **options)

    return run
