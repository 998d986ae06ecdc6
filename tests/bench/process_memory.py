"""What another process has of memory, now and at its peak."""
import threading

SECONDS = 0.02  # between two looks


class PeakMemory:
    """with PeakMemory(pid) as memory: ... memory.peak_anonymous_mib: the most anonymous memory that was seen meanwhile."""

    def __init__(self, pid):
        self._path, self._over = f"/proc/{pid}/status", threading.Event()
        self.peak_anonymous_mib = 0
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()

    def now_mib(self, name):
        """name: as in /proc/PID/status, such as RssAnon or VmHWM."""
        with open(self._path) as status:
            return next(int(line.split()[1]) / 1024 for line in status if line.startswith(name + ":"))

    def _watch(self):
        while not self._over.wait(SECONDS):
            self.peak_anonymous_mib = max(self.peak_anonymous_mib, self.now_mib("RssAnon"))
