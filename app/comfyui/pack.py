"""The one instance of what the nodes, the routes and the preloading share, made when it is first asked for."""
from __future__ import annotations

import functools
import logging
import os

import folder_paths
import longshore
from server import PromptServer

from . import pages, preload_config
from .builder import Builder, load_to_device, plain_paths
from .chores import Chores
from .data import CLEAR_ALL, DataCache
from .preload import Preloader
from .pressure import PressureWatch
from .store import ModelStore

log = logging.getLogger("longshore")
_HERE = os.path.dirname(os.path.realpath(__file__))
_WEIGHTS = "LONGSHORE_WEIGHTS"


class Pack:
    def __init__(self) -> None:
        self.config = _read_config()
        # Memory that was freed is the machine's: whoever frees it in ComfyUI wants it elsewhere.
        self.runtime = longshore.Runtime(warm=os.environ.get("LONGSHORE_WARM", 0))
        self.builder = Builder(os.environ.get(_WEIGHTS, self.config.weights))
        self.chores = Chores(PromptServer.instance.prompt_queue, pages.trim)
        self.store = ModelStore(self.runtime, self.builder, plain_paths, self.chores)
        self.data = DataCache(self.runtime.cache, self.chores)
        self.preloader = Preloader(self.store, self.config)

    def start(self) -> None:
        """What goes on in the background, once the server is there."""
        PressureWatch(self.runtime.status, lambda: self.chores.do(self.give_back)).start()
        self.preloader.start(lambda parts: self.chores.do(lambda: load_to_device(parts)))

    def give_back(self) -> None:
        """Lets go of all that no workflow uses."""
        self.builder.release_outputs()
        self.store.release_idle()

    def empty(self) -> None:
        """Removes all but what is pinned, and what workflows use stays theirs."""
        self.store.clear()
        self.data.remove(CLEAR_ALL)


@functools.cache
def pack() -> Pack:
    return Pack()


def _read_config() -> preload_config.PreloadConfig:
    """An unreadable configuration is a problem that the log and the panel show, and no reason not to start."""
    path = preload_config.find([_HERE, folder_paths.get_user_directory()])
    if path is None:
        return preload_config.PreloadConfig()
    try:
        config = preload_config.read(path)
    except preload_config.ConfigError as error:
        config = preload_config.PreloadConfig(path, problems=[str(error)])
    for problem in config.problems:
        log.warning("Longshore: %s: %s", path, problem)
    if config.verbose:
        log.setLevel(logging.DEBUG)
        log.addFilter(_said_aloud)
    return config


def _said_aloud(record: logging.LogRecord) -> bool:
    """Details come as news: ComfyUI's own handlers let nothing less through."""
    if record.levelno < logging.INFO:
        record.levelno, record.levelname = logging.INFO, logging.getLevelName(logging.INFO)
    return True
