"""A load on its way, as a future."""
from __future__ import annotations

from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Generator

from ._model import Model

if TYPE_CHECKING:
    from . import _core
    from ._orders import Order
    from ._progress import Progress

    _Future = Future[Model]
else:
    _Future = Future


class Load(_Future):
    """What `Runtime.submit` and `Runtime.prefetch` give: a concurrent.futures.Future of a Model that can be awaited.

    cancel() gives the load up: what nobody else waits for is not read any further. So does dropping what `submit` gave
    before it is done. Callbacks run on a thread of the runtime's.
    """

    def __init__(self, pending: "_core.PendingLoad", order: "Order", progress: "Progress | None") -> None:
        super().__init__()
        self._pending, self._order, self._progress = pending, order, progress

    @property
    def progress(self) -> "tuple[int, int, str]":
        """Bytes done, bytes in all, and what it waits for: "header", "memory", "disk", "check", "ready", "failed"."""
        return self._pending.progress()

    def cancel(self) -> bool:
        cancelled = super().cancel()
        if cancelled:
            self._pending.cancel()
        return cancelled

    def __await__(self) -> "Generator[Any, None, Model]":
        import asyncio

        return asyncio.wrap_future(self).__await__()

    def __del__(self) -> None:
        if not self.done():
            self._pending.cancel()

    def _report(self) -> None:
        if self._progress is not None and not self.done():
            self._progress.show(*self.progress)

    def _finish(self) -> None:
        try:
            if self._progress is not None:
                self._progress.end(*self.progress)
        finally:  # a callback that raises keeps nobody waiting
            self._settle()

    def _settle(self) -> None:
        if not self.set_running_or_notify_cancel():
            return
        try:
            self.set_result(Model(self._pending, self._order.framework, self._order.writable))
        except BaseException as reason:
            self.set_exception(reason)
