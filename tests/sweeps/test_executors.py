"""Tasks that fail, workers that die, executors that break."""

import os
import threading
import time
from concurrent.futures import BrokenExecutor, Future, ThreadPoolExecutor
from pathlib import Path

import pytest

import odelandscape as ol
from odelandscape.sweeps.executors import ATTEMPTS, map_unordered_with_retries


def fails(times: dict[int, int]):
    """A function that fails for some tasks a number of times."""
    lock = threading.Lock()

    def function(task: int) -> int:
        with lock:
            if times.get(task, 0):
                times[task] -= 1
                raise OSError(f"task {task}")
        return 10 * task

    return function


def run(function, tasks, in_flight=4):
    with ThreadPoolExecutor(2) as executor:
        return {
            done.task: done
            for done in map_unordered_with_retries(executor, function, tasks, in_flight)
        }


def test_tasks_are_tried_three_times_and_then_reported_as_failed():
    done = run(fails({3: 1, 5: ATTEMPTS - 1, 7: ATTEMPTS}), range(10))
    assert set(done) == set(range(10))
    assert str(done.pop(7).error) == "task 7"
    assert all(one.error is None and one.result == 10 * task for task, one in done.items())
    assert ATTEMPTS == 3


class Counting(ThreadPoolExecutor):
    """Counts the tasks that it holds, and how many it held at most."""

    def __init__(self):
        super().__init__(2)
        self.lock, self.now, self.most = threading.Lock(), 0, 0

    def submit(self, fn, /, *args):
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)

        def counted(*args):
            try:
                return fn(*args)
            finally:
                with self.lock:
                    self.now -= 1

        return super().submit(counted, *args)


def test_a_bounded_number_is_in_flight():
    with Counting() as executor:
        assert (
            sum(
                done.result
                for done in map_unordered_with_retries(executor, abs, iter(range(200)), 5)
            )
            == 19900
        )
        assert executor.most <= 5


def test_closing_early_cancels_tasks_that_have_not_begun():
    begun = []

    def slow(task):
        begun.append(task)
        time.sleep(0.05)

    with ThreadPoolExecutor(1) as executor:
        some = map_unordered_with_retries(executor, slow, range(50), 50)
        next(some)
        some.close()
    assert len(begun) < 10


class Breaking(ThreadPoolExecutor):
    """Does two tasks and breaks."""

    done = 0

    def submit(self, fn, /, *args):
        if self.done == 2:
            raise BrokenExecutor("a process in the pool was terminated abruptly")
        self.done += 1
        return super().submit(fn, *args)


def test_a_broken_executor_is_reported_after_its_finished_tasks():
    seen = []

    with Breaking(1) as executor:
        some = map_unordered_with_retries(executor, abs, range(-5, 0), 1)
        with pytest.raises(
            ol.WorkersLostError, match=r"\(Breaking\) takes no more.*Workers replaces"
        ):
            seen.extend(done.result for done in some)
    assert seen == [5, 4]


class Cancelling(ThreadPoolExecutor):
    """Its scheduler is gone."""

    def submit(self, fn, /, *args):
        future = Future()
        future.cancel()
        future.set_running_or_notify_cancel()
        return future


def test_cancelled_tasks_have_failed():
    with Cancelling(1) as executor:
        (done,) = map_unordered_with_retries(executor, abs, [1], 1)
    assert done.error is not None


def dies_at_first(task: tuple[str, int]) -> tuple[int, int, int]:
    """Which task, process and core; the first process that is given task 1 dies of it."""
    folder, number = task
    if number == 1:
        try:
            Path(folder, "died").touch(exist_ok=False)
        except FileExistsError:
            pass
        else:
            os._exit(9)
    time.sleep(0.5)  # so that one worker does not do all
    core = min(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0
    return number, os.getpid(), core


def test_workers_are_replaced_when_they_die_and_have_cores_of_their_own(tmp_path):
    with ol.Workers(2) as executor:
        assert executor.in_flight == 2
        tasks = [(str(tmp_path), number) for number in range(6)]
        done = list(map_unordered_with_retries(executor, dies_at_first, tasks, executor.in_flight))
    assert (tmp_path / "died").exists()
    assert all(one.error is None for one in done)
    assert sorted(one.result[0] for one in done) == list(range(6))
    assert os.getpid() not in {one.result[1] for one in done}
    if hasattr(os, "sched_getaffinity"):
        assert {one.result[2] for one in done} <= os.sched_getaffinity(0)
        cores = min(2, len(os.sched_getaffinity(0)))
        assert len({one.result[2] for one in done}) == cores


@pytest.mark.parametrize("count", [0, -1])
def test_a_number_of_workers_is_at_least_one(count):
    with pytest.raises(ValueError, match=f"count must be .* got {count}"):
        ol.Workers(count)


def test_workers_end_at_once_when_an_error_leaves_the_block():
    futures, began = [], time.monotonic()

    def interrupted():
        with ol.Workers(1) as executor:
            futures.append(executor.submit(time.sleep, 100))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert time.monotonic() - began < 50
    assert futures[0].exception() is not None
