"""Preloading in the background."""
import threading

import pytest
from pack.preload import Preloader
from pack.preload_config import Item, PreloadConfig
from pack.recipe import Recipe


class Store:
    """Loads what is not in `bad`; `gate` holds all loads back."""

    def __init__(self, bad=()):
        self.bad, self.there, self.gate = bad, {}, threading.Event()
        self.watches = []

    def load(self, recipe, key, watch):
        self.watches.append(watch)
        watch.progress(1, 4)
        assert self.gate.wait(60)
        if key in self.bad:
            raise OSError(f"{key} is damaged")
        self.there[key] = recipe
        return type("Loaded", (), {"parts": (key,)})

    def entries(self):
        return self.there


def items(*keys, kind="ckpt"):
    return [Item(Recipe(kind, (key,)), key) for key in keys]


def test_starting_does_not_wait_and_the_progress_shows():
    store = Store()
    preloader = Preloader(store, PreloadConfig(items=items("a", "b")))
    preloader.start()
    preloader.start()
    assert [model.state for model in preloader.models][1] == "waiting"
    store.gate.set()
    assert preloader.wait(60)
    assert [(model.state, model.done, model.total) for model in preloader.models] == [("ready", 1, 4)] * 2
    assert all(watch.background for watch in store.watches) and len(store.watches) == 2


def test_one_that_fails_says_why_and_the_next_is_loaded(caplog):
    store = Store(bad=["a"])
    store.gate.set()
    preloader = Preloader(store, PreloadConfig(items=items("a", "b")))
    preloader.start()
    assert preloader.wait(60)
    assert [(model.state, model.error) for model in preloader.models] == [("failed", "a is damaged"), ("ready", "")]
    assert "a was not preloaded: a is damaged" in caplog.text


@pytest.mark.parametrize("wanted", [True, False])
def test_models_of_all_kinds_go_to_the_device_where_that_is_wanted(wanted):
    store, moved = Store(), []
    store.gate.set()
    models = [item for kind in ("ckpt", "text_encoder", "diffusion_model", "vae") for item in items(kind, kind=kind)]
    preloader = Preloader(store, PreloadConfig(items=models, auto_gpu_load=wanted))
    preloader.start(moved.append)
    assert preloader.wait(60)
    assert moved == ([[item.key] for item in models] if wanted else [])


def test_the_menus_list_a_kind_with_the_configured_first():
    store = Store()
    store.there = {"z": Recipe("vae", ("z",)), "a": Recipe("vae", ("a",)), "m": Recipe("ckpt", ("m",))}
    preloader = Preloader(store, PreloadConfig(items=items("z", kind="vae")))
    assert preloader.ready("vae") == ["z", "a"]
    assert preloader.ready("text_encoder") == []


def test_nothing_to_preload_is_no_thread():
    preloader = Preloader(Store(), PreloadConfig())
    preloader.start()
    assert preloader.wait(0)
