"""Memory that the machine asks back."""
from types import SimpleNamespace

from pack.pressure import PressureWatch


def test_each_time_that_memory_is_asked_for_is_answered_once():
    asked, relieved = {"times": 3}, []
    watch = PressureWatch(lambda: SimpleNamespace(pressure={"host_asked": dict(asked)}), lambda: relieved.append(1))
    assert not watch.look()
    asked["times"] = 5
    assert watch.look() and not watch.look()
    assert relieved == [1]
