"""Chores of the thread that runs workflows."""
import threading

import pytest
from fake_queue import PromptQueue, Worker
from pack.chores import Chores


@pytest.fixture
def queue():
    return PromptQueue()


@pytest.fixture
def chores(queue):
    return Chores(queue, lambda: None)


@pytest.fixture
def worker(queue, chores):
    worker = Worker(queue)
    yield worker
    worker.stop()


def test_a_chore_wakes_the_idle_thread_and_is_done_there(chores, worker):
    where = []
    assert chores.do(lambda: where.append(threading.current_thread())).wait(60)
    assert where == [worker.thread]


def test_a_chore_waits_for_the_workflow_that_runs(queue, chores, worker):
    running, go_on, order = threading.Event(), threading.Event(), []

    def workflow():
        running.set()
        assert go_on.wait(60)
        order.append("workflow")

    queue.put(workflow)
    assert running.wait(60)
    done = chores.do(lambda: order.append("chore"))
    assert not done.is_set()
    go_on.set()
    assert done.wait(60) and order == ["workflow", "chore"]


def test_within_a_workflow_a_chore_is_done_at_once(queue, chores, worker):
    outcome = threading.Event()
    queue.put(lambda: chores.do(lambda: None).is_set() and outcome.set())
    assert outcome.wait(60)


def test_a_chore_that_fails_is_logged_and_the_next_is_done(chores, worker, caplog):
    chores.do(lambda: 1 / 0)
    assert chores.do(lambda: None).wait(60)
    assert "ZeroDivisionError" in caplog.text


def test_before_it_waits_the_thread_rests_with_all_chores_done(queue):
    order = []
    chores = Chores(queue, lambda: order.append("rest"))
    chores.do(lambda: order.append("chore"))
    queue.put("workflow")
    order.append(queue.get(timeout=1))
    assert order == ["chore", "rest", "workflow"]


def test_what_is_queued_is_still_given_out(queue, chores):
    queue.put("prompt")
    assert queue.get(timeout=1) == "prompt"


def test_a_chore_is_done_before_the_workflow_that_is_queued_after_it(queue, chores):
    """Also when the thread, which waits for a workflow meanwhile, wakes only after both are there."""
    order = []
    wait = queue.not_empty.wait

    def both_come(timeout):
        queue.not_empty.wait = wait
        chores.do(lambda: order.append("chore"))
        queue.put("workflow")

    queue.not_empty.wait = both_come
    order.append(queue.get(timeout=1))
    assert order == ["chore", "workflow"]
