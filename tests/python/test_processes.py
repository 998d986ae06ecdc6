"""Signals, forks and the interpreter's end, with real processes."""
import signal
import time


WAIT_S = 60

INTERRUPTED = """
import sys, time, longshore
runtime = longshore.Runtime(host_limit=12 << 30)
print("loading", flush=True)
try:
    runtime.load(sys.argv[1], hold="owned", framework="numpy", progress=lambda *_: print("reading", flush=True))
    print("loaded")
except KeyboardInterrupt:
    print(time.monotonic(), flush=True)
"""


def test_interrupt_ends_the_wait(child, huge):
    process = child(INTERRUPTED, huge)
    assert [process.stdout.readline() for _ in range(2)] == ["loading\n", "reading\n"]
    sent = time.monotonic()
    process.send_signal(signal.SIGINT)
    noticed = float(next(line for line in process.stdout if line != "reading\n"))
    assert noticed - sent < 0.1
    process.communicate(timeout=WAIT_S)
    assert process.returncode == 0 and time.monotonic() - sent < 5


def test_exit_in_mid_load(child, huge):
    source = """
import sys, threading, longshore
runtime = longshore.Runtime(host_limit=12 << 30)
threading.Thread(target=runtime.load, args=(sys.argv[1],), kwargs={"hold": "owned", "framework": "numpy"}, daemon=True).start()
"""
    process = child(source, huge)
    process.communicate(timeout=WAIT_S)
    assert process.returncode == 0


def test_views_at_exit(child, plain):
    source = """
import sys, longshore, longshore.numpy, longshore.torch
sys.stay = longshore.numpy.load_file(sys.argv[1]), longshore.torch.load_file(sys.argv[1])
sys.stay_too = longshore.Runtime()
"""
    process = child(source, plain)
    out, err = process.communicate(timeout=WAIT_S)
    assert (process.returncode, out, err) == (0, "", "")


def test_the_interpreter_runs_while_a_load_waits(child, huge):
    source = """
import sys, threading, longshore
runtime = longshore.Runtime(host_limit=12 << 30)
done = threading.Event()
def load():
    try:
        runtime.load(sys.argv[1], hold="owned", framework="numpy", deadline=0.5)
    except TimeoutError:
        done.set()
threading.Thread(target=load).start()
turns = 0
while not done.is_set():
    turns += 1
print(turns)
"""
    out, err = child(source, huge).communicate(timeout=WAIT_S)
    assert int(out) > 10_000, err


FORKED = """
import os, sys, longshore, longshore.numpy
arrays = longshore.numpy.load_file(sys.argv[1])
total = sum(int(a.view("u1").sum()) for a in arrays.values())
process = os.fork()
if process == 0:
    for use in (lambda: longshore.numpy.load_file(sys.argv[1]), longshore.Runtime):
        try:
            use()
        except longshore.ForkError as refused:
            print(refused, flush=True)
    assert sum(int(a.view("u1").sum()) for a in arrays.values()) == total
    del arrays
    sys.exit(7)
assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 7
again = longshore.numpy.load_file(sys.argv[1])
assert sum(int(a.view("u1").sum()) for a in again.values()) == total
print("parent is whole")
"""


def test_fork(child, plain):
    process = child(FORKED, plain)
    out, err = process.communicate(timeout=WAIT_S)
    lines = out.splitlines()
    assert process.returncode == 0, err
    assert len(lines) == 3 and lines[2] == "parent is whole"
    assert all("forked" in line and "spawn" in line for line in lines[:2])


def test_fork_before_the_first_use(child, plain):
    source = """
import os, sys, longshore, longshore.numpy
process = os.fork()
assert len(longshore.numpy.load_file(sys.argv[1])) == 64
if process:
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]))
"""
    process = child(source, plain)
    assert process.communicate(timeout=WAIT_S) == ("", "")
    assert process.returncode == 0
