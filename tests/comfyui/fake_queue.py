"""ComfyUI's queue of prompts, as far as chores know it, and a thread that empties it."""
import threading


class PromptQueue:
    def __init__(self):
        self.mutex = threading.RLock()
        self.not_empty = threading.Condition(self.mutex)
        self.items = []

    def put(self, item):
        with self.mutex:
            self.items.append(item)
            self.not_empty.notify()

    def get(self, timeout=None):
        with self.not_empty:
            if not self.items:
                self.not_empty.wait(timeout)
            return self.items.pop(0) if self.items else None


class Worker:
    """Calls what it finds in the queue; `None` ends it."""

    def __init__(self, queue):
        self._queue = queue
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        while True:
            item = self._queue.get(timeout=60)
            if item == "stop":
                return
            if item:
                item()

    def stop(self):
        self._queue.put("stop")
        self.thread.join()
