"""Tasks on the workers of any `concurrent.futures` executor, of which some fail or are lost."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    Executor,
    Future,
    ProcessPoolExecutor,
    wait,
)
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from typing import Generic, NamedTuple, TypeVar

from ..runtime.arguments import check_whole_number
from ..runtime.errors import OperationError

T, R = TypeVar("T"), TypeVar("R")
ATTEMPTS = 3
"""How often a task is tried before it is given up."""


class WorkersLostError(OperationError):
    """No worker could do a task, or the executor takes no more of them."""


def in_flight(executor: Executor) -> int | None:
    """Return how many tasks an executor has a use for at a time: its attribute `in_flight`, if it has one.

    `Workers` has it; `concurrent.futures` has no such attribute of its own.
    """
    return getattr(executor, "in_flight", None)


class Done(NamedTuple, Generic[T, R]):
    """A task with its result, or with why its last attempt failed."""

    task: T
    result: R | None
    error: BaseException | None


def map_unordered_with_retries(
    executor: Executor, function: Callable[[T], R], tasks: Iterable[T], in_flight: int
) -> Iterator[Done[T, R]]:
    """Yield `function(task)` of each task on the executor's workers, in the order of completion.

    At most `in_flight` tasks are submitted at a time. One that fails is tried again, `ATTEMPTS` times in all,
    after those that have not been submitted yet, on whichever worker is free then. Closing the iterator early
    cancels tasks that have not begun.

    Raises WorkersLostError if the executor takes no more tasks.
    """
    pending = deque((task, 1) for task in tasks)
    submitted: dict[Future, tuple] = {}

    def fill() -> None:
        while pending and len(submitted) < in_flight:
            task, attempt = pending.popleft()
            try:
                future = executor.submit(function, task)
            except RuntimeError as error:  # a BrokenExecutor, or one that is shut down
                lost = "a worker was lost and " if isinstance(error, BrokenExecutor) else ""
                raise WorkersLostError(
                    f"{lost}the executor ({type(executor).__name__}) takes no more tasks: {error}. "
                    "odelandscape.Workers replaces lost workers"
                ) from error
            submitted[future] = task, attempt

    try:
        fill()
        while submitted:
            ended = [
                (future, *submitted.pop(future))
                for future in wait(submitted, return_when=FIRST_COMPLETED).done
            ]
            finished = []
            for future, task, attempt in ended:
                error = _error(future)
                if error is None:
                    finished.append(Done(task, future.result(), None))
                elif attempt < ATTEMPTS:
                    pending.append((task, attempt + 1))
                else:
                    finished.append(Done(task, None, error))
            del ended
            # Before the caller handles the results: workers should not wait for that.
            try:
                fill()
            finally:
                yield from finished
    finally:
        for future in submitted:
            future.cancel()


def _error(future: Future) -> BaseException | None:
    # A cancelled task (its scheduler is gone) has failed like any other.
    try:
        return future.exception()
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt | SystemExit):
            raise
        return error


class Workers(Executor):
    """`count` processes on this machine, each on a core of its own where the system allows that, and replaced
    when it dies.

    They are spawned, so call it under `if __name__ == "__main__":` in a script. They end when this process
    does, however it ends, and at once when the `with` block is left by an error or an interruption.

    Raises UserError if `count` is below 1, OperationError if the system does not allow that many.
    """

    def __init__(self, count: int):
        check_whole_number("count", count, 1)
        cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [None]
        self._cores = [cores[i % len(cores)] for i in range(count)]
        self._context = multiprocessing.get_context("spawn")
        _start_quiet_tracker()
        # Workers exit when the end that is held here is closed, by this process or by its death.
        self._worker_end, self._own_end = self._context.Pipe(duplex=False)
        # One process each: where one dies, no other's task is lost with it.
        try:
            self._pools = [self._pool(core) for core in self._cores]
        except OSError as error:
            raise OperationError(
                f"this system does not allow {count} workers ({error.strerror}): name fewer"
            ) from None
        self._submitted: list[list[Future]] = [[] for _ in self._cores]
        self._lock = threading.Lock()

    @property
    def in_flight(self) -> int:
        """Number of tasks that the processes can work on at a time."""
        return len(self._cores)

    def _pool(self, core: int | None) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(
            1,
            mp_context=self._context,
            initializer=_initialise_worker,
            initargs=(core, self._worker_end),
        )

    def submit(self, fn: Callable, /, *args, **kwargs) -> Future:
        with self._lock:
            self._submitted = [[f for f in some if not f.done()] for some in self._submitted]
            which = min(range(len(self._pools)), key=lambda i: len(self._submitted[i]))
            with _interruptions_blocked():
                try:
                    future = self._pools[which].submit(fn, *args, **kwargs)
                except BrokenProcessPool:
                    self._pools[which] = self._pool(self._cores[which])
                    future = self._pools[which].submit(fn, *args, **kwargs)
            self._submitted[which].append(future)
            return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        for pool in self._pools:
            pool.shutdown(wait, cancel_futures=cancel_futures)

    def __exit__(self, kind, error, trace) -> None:
        if kind is not None:  # nobody will read the results of running tasks
            self._own_end.close()
        self.shutdown()
        self._own_end.close()


def _start_quiet_tracker() -> None:
    """Start the process that frees what this one leaves if it is interrupted or killed, without its warning
    that it had to. Does nothing where it runs already, or there is none."""
    if os.name != "posix":
        return
    before = os.environ.get("PYTHONWARNINGS")
    os.environ["PYTHONWARNINGS"] = "ignore"
    try:
        resource_tracker.ensure_running()
    finally:
        del os.environ["PYTHONWARNINGS"]
        if before is not None:
            os.environ["PYTHONWARNINGS"] = before


@contextmanager
def _interruptions_blocked() -> Iterator[None]:
    """Block SIGINT in this thread, and in processes that it starts: a terminal sends Ctrl-C to them, too, and
    they would print where in their imports it has met them. This process receives it afterwards."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _initialise_worker(core: int | None, parent: Connection) -> None:
    if core is not None:
        os.sched_setaffinity(0, {core})  # nothing else limits the threads of XLA
    # Where it could not be blocked: the parent process handles Ctrl-C.
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def exit_with_parent() -> None:
        parent.poll(None)
        os._exit(1)

    threading.Thread(target=exit_with_parent, daemon=True).start()
