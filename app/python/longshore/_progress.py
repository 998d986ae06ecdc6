"""Progress of a load: a callback of the user's, or a bar."""
from __future__ import annotations

from typing import Any, Callable, Union

from . import _core
from ._errors import InvalidArgumentError

_LOOK_S = 0.05  # between two looks at the progress of a load
_PATIENCE_S = 60.0  # between two looks at nothing: loads have deadlines of their own

# True or "tqdm" for a bar; or a function of bytes done, bytes in all, and what the load waits for.
ProgressWish = Union[None, bool, str, Callable[[int, int, str], object]]


class Progress:
    def show(self, done: int, total: int, stage: str) -> None:
        raise NotImplementedError

    def end(self, done: int, total: int, stage: str) -> None:
        self.show(done, total, stage)


class _Callback(Progress):
    def __init__(self, call: "Callable[[int, int, str], object]") -> None:
        self._call = call

    def show(self, done: int, total: int, stage: str) -> None:
        self._call(done, total, stage)


class _Bar(Progress):
    def __init__(self, name: str) -> None:
        try:
            from tqdm.auto import tqdm
        except ImportError:
            raise InvalidArgumentError("progress=True draws with tqdm, which is not installed: pip install tqdm") from None
        self._bar: Any = tqdm(desc=name, unit="B", unit_scale=True, unit_divisor=1024, total=0)

    def show(self, done: int, total: int, stage: str) -> None:
        self._bar.total = total
        self._bar.set_postfix_str(stage, refresh=False)
        self._bar.update(done - self._bar.n)

    def end(self, done: int, total: int, stage: str) -> None:
        self.show(done, total, stage)
        self._bar.close()


def progress_of(wish: ProgressWish, name: str) -> "Progress | None":
    if wish is None or wish is False:
        return None
    if wish is True or wish == "tqdm":
        return _Bar(name)
    if callable(wish):
        return _Callback(wish)
    raise InvalidArgumentError(f"progress is a function, True or 'tqdm', not {wish!r}")


def wait_for(pending: _core.PendingLoad, progress: "Progress | None") -> None:
    """Until it is answered. Whatever ends the wait before that, such as Ctrl-C, cancels the load."""
    try:
        while not pending.wait(_LOOK_S if progress else _PATIENCE_S):
            if progress:
                progress.show(*pending.progress())
    except BaseException:
        pending.cancel()
        raise
    finally:
        if progress:
            progress.end(*pending.progress())
