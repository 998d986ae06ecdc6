"""A subinterpreter is refused by name, whatever its kind, and the main interpreter goes on as if nothing had been."""
import pytest
from conftest import run_python

IMPORT = """
try:
    import longshore{module}
    print("imported")
except ImportError as refusal:
    print("refused:", refusal)
"""

# The module for subinterpreters has two names, and two ways of telling it which lock they have.
TRY = """
import sys
try:
    import _interpreters as interpreters
    made = interpreters.create("legacy" if sys.argv[1] == "shared lock" else "isolated")
    run = interpreters.exec
except ImportError:
    import _xxsubinterpreters as interpreters
    made = interpreters.create(isolated=sys.argv[1] != "shared lock")
    run = interpreters.run_string
model, order, tries = sys.argv[2:]

def load():
    import longshore.numpy
    return longshore.numpy.load_file(model)

before = load() if order == "main first" else None
for _ in range(2):
    trouble = run(made, tries + "\\nimport sys; sys.stdout.flush()")
    assert trouble is None, trouble
interpreters.destroy(made)
after = load()
assert before is None or all((before[name] == after[name]).all() for name in after)
print(*sorted(after))
"""


@pytest.mark.parametrize("lock", ("shared lock", "own lock"))
@pytest.mark.parametrize("order", ("main first", "main last"))
@pytest.mark.parametrize("module", ("", ".numpy", "._core"))
def test_refused(lock, order, module, model, values):
    done = run_python(TRY, lock, model, order, IMPORT.format(module=module))
    assert done.returncode == 0, done.stderr
    *refusals, names = done.stdout.splitlines()
    assert names.split() == sorted(values)
    assert len(refusals) == 2
    for refusal in refusals:
        assert refusal.startswith("refused: longshore cannot be used in a subinterpreter") and "spawn" in refusal
