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
from multiprocessing.connection import Connection
from typing import Generic, NamedTuple, TypeVar

from ..runtime.errors import OperationError, UserError

T, R = TypeVar("T"), TypeVar("R")
ATTEMPTS = 3
"""How often a task is tried before it is given up."""
IN_FLIGHT = 256
"""Tasks that are handed to an executor at a time, unless it says how many it has a use for."""


class WorkersLostError(OperationError):
    """No worker could do a task, or the executor takes no more of them."""


class Done(NamedTuple, Generic[T, R]):
    """A task with its result, or with why its last attempt failed."""

    task: T
    result: R | None
    error: BaseException | None


def map_unordered_with_retries(
    executor: Executor, function: Callable[[T], R], tasks: Iterable[T], in_flight: int
) -> Iterator[Done[T, R]]:
    """`function(task)` of each task on the executor's workers, in the order of arrival.

    At most `in_flight` are out at a time. What fails is tried again when its turn comes, on whichever worker
    is free then. Leaving early cancels what has not begun.

    Raises WorkersLostError if the executor takes no more tasks.
    """
    waiting = deque((task, 1) for task in tasks)
    out: dict[Future, tuple] = {}

    def fill() -> None:
        while waiting and len(out) < in_flight:
            task, attempt = waiting.popleft()
            try:
                future = executor.submit(function, task)
            except BrokenExecutor as error:
                raise WorkersLostError(
                    f"a worker was lost and the executor ({type(executor).__name__}) takes no more tasks: "
                    f"{error}. odelandscape.Workers replaces lost workers"
                ) from error
            out[future] = task, attempt

    try:
        fill()
        while out:
            ended = [
                (future, *out.pop(future)) for future in wait(out, return_when=FIRST_COMPLETED).done
            ]
            finished = []
            for future, task, attempt in ended:
                error = _error(future)
                if error is None:
                    finished.append(Done(task, future.result(), None))
                elif attempt < ATTEMPTS:
                    waiting.append((task, attempt + 1))
                else:
                    finished.append(Done(task, None, error))
            del ended
            # Before the results are looked after: workers should not wait for that.
            try:
                fill()
            finally:
                yield from finished
    finally:
        for future in out:
            future.cancel()


def _error(future: Future) -> BaseException | None:
    # A cancelled one (its scheduler is gone) has failed like any other.
    try:
        return future.exception()
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt | SystemExit):
            raise
        return error


class Workers(Executor):
    """`count` processes on this machine, each on a core of its own where the system lets one choose, and
    replaced when it dies.

    They are spawned, so call it under `if __name__ == "__main__":` in a script. They end when this process
    does, however it ends, and at once when the `with` block is left by an error or an interruption.

    Raises ValueError if `count` is below 1.
    """

    def __init__(self, count: int):
        if count < 1:
            raise UserError(f"count must be a whole number of at least 1; got {count!r}")
        cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [None]
        self._cores = [cores[i % len(cores)] for i in range(count)]
        self._context = multiprocessing.get_context("spawn")
        # Workers leave when its other end is closed, by this process or because it is no more.
        self._until, self._open = self._context.Pipe(duplex=False)
        # One process each: where one dies, no other's task is lost with it.
        self._pools: list[ProcessPoolExecutor] = [self._pool(core) for core in self._cores]
        self._out: list[list[Future]] = [[] for _ in self._cores]
        self._lock = threading.Lock()

    @property
    def in_flight(self) -> int:
        """Tasks that it has a use for at a time."""
        return len(self._cores)

    def _pool(self, core: int | None) -> ProcessPoolExecutor:
        given = core, self._until
        return ProcessPoolExecutor(1, mp_context=self._context, initializer=_begin, initargs=given)

    def submit(self, fn: Callable, /, *args, **kwargs) -> Future:
        with self._lock:
            self._out = [[f for f in some if not f.done()] for some in self._out]
            which = min(range(len(self._out)), key=lambda i: len(self._out[i]))
            try:
                future = self._pools[which].submit(fn, *args, **kwargs)
            except BrokenProcessPool:
                self._pools[which] = self._pool(self._cores[which])
                future = self._pools[which].submit(fn, *args, **kwargs)
            self._out[which].append(future)
            return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        for pool in self._pools:
            pool.shutdown(wait, cancel_futures=cancel_futures)

    def __exit__(self, kind, error, trace) -> None:
        if kind is not None:  # what they are doing is not wanted any more
            self._open.close()
        self.shutdown()
        self._open.close()


def _begin(core: int | None, until: Connection) -> None:
    if core is not None:
        os.sched_setaffinity(0, {core})  # nothing else limits the threads of XLA
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # the terminal tells all; the parent looks after it

    def leave() -> None:
        until.poll(None)
        os._exit(1)

    threading.Thread(target=leave, daemon=True).start()
