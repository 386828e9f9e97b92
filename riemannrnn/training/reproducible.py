"""What makes a training run the same to the bit: BLAS on one thread, the same parts of batches, and a folder of its own."""

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
    """Have a function with the keyword arguments `checkpoints` and `resume` give the same bits, whatever else runs.

    BLAS has one thread from the beginning to the end. With several its results round differently, and how many it has would
    depend on what other threads do. Batches are divided into as many parts as at the start of the run, on any number of cores:
    the products of parts round differently, too. No other process or thread uses the folder of the checkpoints meanwhile.

    Raises
    ------
    RunInUseError
        From the function that is returned, where another run uses the folder.
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
