"""How a node waits: its progress bar moves, and the interrupt button ends the wait."""
from __future__ import annotations

import comfy.model_management
import comfy.utils


class NodeWatch:
    background = False

    def __init__(self) -> None:
        self._done = self._shown = self._total = 0
        self._bar: "comfy.utils.ProgressBar | None" = None

    def progress(self, done: int, total: int, stage: str = "") -> None:
        """Comes from the runtime's threads, so it only takes the numbers down; ComfyUI is told by `check`."""
        self._done, self._total = done, total

    def check(self) -> None:
        comfy.model_management.throw_exception_if_processing_interrupted()
        if self._total and self._done != self._shown:
            self._bar = self._bar or comfy.utils.ProgressBar(self._total)
            self._bar.update_absolute(self._done, self._total)
            self._shown = self._done
