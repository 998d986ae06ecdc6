"""The cache as Python sees it: keys, kinds, generations, objects, and what is called when they go."""
import gc
import json
import queue
import weakref

import longshore
import pytest

WAIT_S = 60
MEBIBYTE = 1 << 20


@pytest.fixture
def runtime():
    with longshore.Runtime(host_limit=64 * MEBIBYTE, warm=0) as made:
        yield made


@pytest.fixture
def gone():
    """A queue of what eviction callbacks were called with."""
    return queue.SimpleQueue()


def test_models_and_objects_under_keys(plain, runtime):
    model = runtime.load(plain, "model", kind="ckpt", hold="owned", keep=True)
    value = {"any": "thing"}
    runtime.cache.put("object", value, MEBIBYTE, kind="vae")
    assert runtime.cache.get("object") is value
    assert runtime.cache.get("model").generation == model.generation
    assert runtime.cache.keys() == list(runtime.cache) == ["model", "object"] and len(runtime.cache) == 2
    assert "object" in runtime.cache and "other" not in runtime.cache
    first, second = runtime.cache.entries()
    assert (first.kind, first.leases, first.pinned, first.is_object) == ("ckpt", 1, True, False)
    assert first.file_bytes == plain.stat().st_size <= first.memory_bytes
    assert (second.kind, second.memory_bytes, second.is_object, second.leases) == ("vae", MEBIBYTE, True, 0)
    assert first.generation == runtime.cache.generation("model") != runtime.cache.generation("object")


def test_a_missing_key_names_the_nearest(runtime):
    runtime.cache.put("sdxl-base", 1, 0)
    with pytest.raises(longshore.NotFoundError, match="nothing is cached under 'sdxl_base'.*'sdxl-base'"):
        runtime.cache.get("sdxl_base")
    for change in (runtime.cache.remove, runtime.cache.pin, runtime.cache.unpin):
        with pytest.raises(longshore.NotFoundError):
            change("sdxl_base")


def test_another_kind_is_refused(plain, runtime):
    runtime.load(plain, "m", kind="ckpt")
    for ask in (lambda: runtime.load(plain, "m", kind="vae"), lambda: runtime.cache.get("m", kind="vae")):
        with pytest.raises(longshore.WrongKindError, match="'m' is a ckpt, not a vae"):
            ask()
    with pytest.raises(longshore.WrongKindError):
        runtime.cache.put("m", 1, 1, kind="vae", replace=False)
    runtime.cache.put("m", 1, 1, kind="vae")
    assert runtime.cache.get("m") == 1
    with pytest.raises(ValueError, match="no kind 'lamp'; the kinds are ckpt"):
        runtime.load(plain, "n", kind="lamp")


def test_generations_move_with_what_a_key_stands_for(runtime):
    seen = [runtime.cache.generation("k")]
    for change in (
        lambda: runtime.cache.put("k", 1, 1),
        lambda: runtime.cache.put("k", 2, 1),
        lambda: runtime.cache.remove("k"),
    ):
        change()
        seen.append(runtime.cache.generation("k"))
    assert seen == sorted(set(seen))
    assert runtime.cache.generation("k") == seen[-1]


def test_memory_that_is_needed_is_taken_from_objects(plain, runtime, gone):
    values = [bytearray(8) for _ in range(3)]
    for number, value in enumerate(values):
        runtime.cache.put(f"object {number}", value, 20 * MEBIBYTE, on_evict=lambda *what: gone.put(what))
    assert len(runtime.load(plain, hold="owned")) == 64
    assert gone.get(timeout=WAIT_S) == ("object 0", values[0])
    assert "object 0" not in runtime.cache and runtime.cache.stats().evictions == 1
    assert runtime.status().host_used <= runtime.host_limit


def test_what_is_pinned_stays(plain, runtime, gone):
    runtime.cache.put("mine", 1, 60 * MEBIBYTE, on_evict=lambda *what: gone.put(what))
    runtime.cache.pin("mine")
    with pytest.raises(MemoryError, match="'mine'"):
        runtime.load(plain, hold="owned")
    runtime.cache.unpin("mine")
    runtime.load(plain, hold="owned")
    assert gone.get(timeout=WAIT_S) == ("mine", 1)


@pytest.mark.parametrize("end", ("replace", "remove", "clear", "close"))
def test_the_callback_comes_at_every_end(runtime, gone, end):
    runtime.cache.put("k", "value", 1, on_evict=lambda *what: gone.put(what))
    {
        "replace": lambda: runtime.cache.put("k", "other", 1),
        "remove": lambda: runtime.cache.remove("k"),
        "clear": runtime.cache.clear,
        "close": runtime.close,
    }[end]()
    assert gone.get(timeout=WAIT_S) == ("k", "value")


def test_the_cache_lets_go_of_an_object(runtime):
    class Thing:
        pass

    thing, done = Thing(), queue.SimpleQueue()
    alive = weakref.ref(thing, lambda _: done.put(True))
    runtime.cache.put("k", thing, 1)
    del thing
    gc.collect()
    assert alive() is not None
    runtime.cache.remove("k")
    assert done.get(timeout=WAIT_S)


def test_an_object_that_does_not_fit(runtime, gone):
    with pytest.raises(MemoryError):
        runtime.cache.put("k", 1, 65 * MEBIBYTE, on_evict=lambda *what: gone.put(what))
    assert gone.get(timeout=WAIT_S) == ("k", 1)
    assert len(runtime.cache) == 0


def test_counts(plain, runtime):
    runtime.load(plain, "m")
    runtime.load(plain, "m")
    with pytest.raises(longshore.NotFoundError):
        runtime.cache.get("none")
    runtime.cache.put("o", 1, 5)
    stats = runtime.cache.stats()
    assert (stats.hits, stats.misses, stats.puts, stats.evictions) == (1, 2, 1, 0)
    assert stats.used == runtime.status().host_used and stats.limit == 64 * MEBIBYTE


@pytest.fixture
def configured(plain, tmp_path):
    """A configuration with a model that is there, one that is not, and one that is disabled."""
    folder = tmp_path / "models" / "checkpoints"
    folder.mkdir(parents=True)
    (folder / "there.safetensors").symlink_to(plain)
    path = tmp_path / "preload_config.json"
    models = [
        {"name": "there.safetensors", "cache_key": "there"},
        {"name": "their.safetensors"},
        {"name": "off.safetensors", "enabled": False},
    ]
    path.write_text(json.dumps({"version": "1.0", "models": {"checkpoints": models}}))
    return path, tmp_path / "models"


def test_preload(configured, runtime):
    config, models = configured
    told = []
    outcomes = runtime.preload(config, models, progress=lambda outcome, of: told.append((outcome.key, of)))
    assert told == [("there", 2), ("their.safetensors", 2)]
    there, missing = outcomes
    assert there.error is None and there.kind == "ckpt" and there.bytes > 10 * MEBIBYTE and not there.on_device
    assert isinstance(missing.error, longshore.NotFoundError) and "there.safetensors" in str(missing.error)
    assert missing.pointer == "/models/checkpoints/1"
    (entry,) = runtime.cache.entries()
    assert (entry.key, entry.pinned) == ("there", True)


def test_a_configuration_that_is_wrong(tmp_path, runtime):
    path = tmp_path / "preload_config.json"
    path.write_text('{"models": {"vaes": [{"name": 3}]}}')
    with pytest.raises(ValueError, match="/models/vaes/0"):
        runtime.preload(path)
    with pytest.raises(FileNotFoundError, match="none.json"):
        runtime.preload(tmp_path / "none.json")


def test_status(plain, runtime):
    model = runtime.load(plain, hold="owned")
    status = runtime.status()
    (holder,) = status.holders
    assert (holder.name, holder.kind, holder.in_use) == (str(plain), "active model", True)
    assert status.host_used == holder.host >= model.bytes
    assert status.host_used <= status.host_peak <= status.host_limit == 64 * MEBIBYTE
    assert status.loads == []


def test_trace(plain, runtime, tmp_path):
    with runtime.trace(tmp_path / "trace"):
        with pytest.raises(ValueError, match="already"):
            with runtime.trace(tmp_path / "other"):
                pass
        runtime.load(plain, hold="owned")
    assert b"get_model" in (tmp_path / "trace").read_bytes()
    with pytest.raises(OSError, match="no-such"):
        with runtime.trace(tmp_path / "no-such" / "trace"):
            pass
