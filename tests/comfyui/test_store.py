"""The store on a stand-in of the runtime: sharing, modes, files that change, memory that runs short, giving up."""
import os
import threading
import weakref

import longshore
import pytest
from fake_runtime import FakeRuntime
from fake_queue import PromptQueue, Worker
from pack.chores import Chores
from pack.recipe import Mode, Recipe
from pack.store import ModelStore, Quiet


class Built:
    """Hands out lists, each a clone; `used` says whether someone has one."""

    def __init__(self, tensors, stock=False):
        self.tensors, self.stock, self.used = tensors, stock, False
        self.dtype, self.last_use, self.bytes, self.leases = None, 0, 8, {}

    def clones(self):
        return ([self],)

    def is_idle(self):
        return not self.stock and not self.used


class Builder:
    def __init__(self):
        self.built, self.outputs_freed, self.type, self.hold = [], 0, None, "owned"

    def build(self, recipe, model):
        self.built.append((recipe, float(model["a"][0, 0])))
        return Built(dict(model))

    def build_stock(self, recipe):
        return Built({}, stock=True)

    def dtype(self, recipe, paths):
        return self.type

    def release_outputs(self):
        freed, self.outputs_freed = self.outputs_freed, 0
        return freed


@pytest.fixture
def world(tmp_path):
    class World:
        runtime, builder = FakeRuntime(), Builder()

        def __init__(self):
            queue = PromptQueue()
            self.store = ModelStore(self.runtime, self.builder, self.paths, Chores(queue, lambda: None))
            self.worker = Worker(queue)

        def paths(self, recipe):
            paths = [str(tmp_path / name) for name in recipe.files]
            for path in paths:
                os.stat(path)
            return paths if paths[0].endswith(".safetensors") else None

        def load(self, name, key="", mode=Mode.AUTO, kind="ckpt", **more):
            recipe = Recipe(kind, (name,))
            return self.store.load(recipe, recipe.key_for(key, mode), mode, **more)

    made = World()
    yield made
    made.worker.stop()


def built(loaded):
    return loaded.parts[0][0]


def test_a_hit_is_another_clone_of_the_same_model(world, write_model):
    write_model("m.safetensors")
    first, second = world.load("m.safetensors"), world.load("m.safetensors")
    assert (first.from_cache, second.from_cache, second.key) == (False, True, "m.safetensors")
    assert built(first) is built(second) and first.parts[0] is not second.parts[0]
    assert len(world.runtime.reads) == len(world.builder.built) == 1


def test_all_keys_of_a_file_share_one_model(world, write_model):
    write_model("m.safetensors")
    models = {id(built(world.load("m.safetensors", key))) for key in ("", "a", "b")}
    assert len(models) == 1 and len(world.runtime.reads) == 1


def test_each_key_has_a_lease_of_its_own_until_it_goes(world, write_model):
    write_model("m.safetensors")
    world.load("m.safetensors", "a"), world.load("m.safetensors", "b")
    shared = built(world.load("m.safetensors", "a"))
    assert shared.leases.keys() == {"a", "b"}
    world.store.remove("a")
    assert shared.leases.keys() == {"b"}


def test_a_file_replaced_under_its_name_is_loaded_anew(world, write_model):
    write_model("m.safetensors", 1.0)
    before = world.store.weak_hash(Recipe("ckpt", ("m.safetensors",)), "k", Mode.AUTO)
    world.load("m.safetensors", "k")
    write_model("m.safetensors", 2.0)
    assert world.store.weak_hash(Recipe("ckpt", ("m.safetensors",)), "k", Mode.AUTO) != before
    assert not world.load("m.safetensors", "k").from_cache
    assert [value for _, value in world.builder.built] == [1.0, 2.0]


def test_the_weak_hash_stays_when_a_load_has_put_the_key(world, write_model):
    write_model("m.safetensors")
    recipe = Recipe("ckpt", ("m.safetensors",))
    before = world.store.weak_hash(recipe, "k", Mode.AUTO)
    world.load("m.safetensors", "k")
    assert world.store.weak_hash(recipe, "k", Mode.AUTO) == before


def test_override_loads_again_and_replaces(world, write_model):
    write_model("m.safetensors")
    first = world.load("m.safetensors", "k")
    second = world.load("m.safetensors", "k", Mode.OVERRIDE)
    assert built(first) is not built(second) and len(world.runtime.reads) == 2
    assert built(world.load("m.safetensors", "k")) is built(second)


def test_read_only_takes_what_the_key_stands_for_whatever_file_is_named(world, write_model):
    write_model("m.safetensors", 1.0)
    write_model("n.safetensors", 2.0)
    first = world.load("m.safetensors", "k")
    assert built(world.load("n.safetensors", "k", Mode.READ_ONLY)) is built(first)
    assert len(world.runtime.reads) == 1


def test_read_only_works_when_the_file_is_gone(world, write_model):
    path = write_model("m.safetensors")
    first = world.load("m.safetensors", "k")
    os.remove(path)
    assert built(world.load("m.safetensors", "k", Mode.READ_ONLY)) is built(first)
    with pytest.raises(FileNotFoundError):
        world.load("m.safetensors", "k")


def test_read_only_on_a_missing_key_is_an_error_that_names_near_keys(world, write_model):
    write_model("m.safetensors")
    world.load("m.safetensors", "portrait-a")
    with pytest.raises(longshore.NotFoundError, match="portrait-b.*portrait-a"):
        world.load("m.safetensors", "portrait-b", Mode.READ_ONLY)
    assert len(world.runtime.reads) == 1


def test_read_only_sees_a_key_appear_change_and_go(world, write_model):
    write_model("m.safetensors")
    recipe = Recipe("ckpt", ("m.safetensors",))
    seen = [world.store.weak_hash(recipe, "k", Mode.READ_ONLY)]
    for act in (
        lambda: world.load("m.safetensors", "k"),
        lambda: world.load("m.safetensors", "k", Mode.OVERRIDE),
        lambda: world.store.remove("k"),
    ):
        act()
        seen.append(world.store.weak_hash(recipe, "k", Mode.READ_ONLY))
    assert len(set(seen)) == len(seen)


@pytest.mark.parametrize("mode", [Mode.AUTO, Mode.READ_ONLY])
def test_another_kind_under_the_key_is_an_error_that_names_both(world, write_model, mode):
    write_model("m.safetensors")
    world.load("m.safetensors", "k", kind="vae")
    with pytest.raises(longshore.InvalidArgumentError, match="vae.*ckpt"):
        world.load("m.safetensors", "k", mode, kind="ckpt")


@pytest.mark.parametrize("mode", [Mode.AUTO, Mode.READ_ONLY])
def test_a_checkpoint_loader_takes_an_unclip_checkpoint(world, write_model, mode):
    write_model("m.safetensors")
    first = world.load("m.safetensors", "k", kind="unclip_ckpt")
    assert built(world.load("m.safetensors", "k", mode, kind="ckpt")) is built(first)


def test_a_removed_key_lets_go_of_the_model_unless_another_key_stands_for_it(world, write_model):
    write_model("m.safetensors")
    world.load("m.safetensors", "a"), world.load("m.safetensors", "b")
    assert world.store.remove("a") and not world.store.remove("a")
    assert world.store.entries().keys() == {"b"}
    assert world.load("m.safetensors", "b").from_cache
    world.store.remove("b")
    assert not world.load("m.safetensors", "b").from_cache


def test_an_evicted_key_is_loaded_again(world, write_model):
    write_model("m.safetensors")
    world.load("m.safetensors", "k")
    world.runtime.cache.evict("k")
    assert world.store.kind("k") is None and world.store.entries() == {}
    assert not world.load("m.safetensors", "k").from_cache


def test_clear_keeps_what_is_pinned(world, write_model):
    write_model("m.safetensors")
    write_model("n.safetensors")
    world.load("m.safetensors", "m"), world.load("n.safetensors", "n")
    world.runtime.cache.pin("n")
    world.store.clear()
    assert world.store.entries().keys() == {"n"}


def test_what_is_no_safetensors_file_is_loaded_the_stock_way_and_cached_all_the_same(world, tmp_path):
    (tmp_path / "old.ckpt").write_bytes(b"pickle")
    first = world.load("old.ckpt", "k")
    assert (first.how, first.from_cache) == ("stock", False)
    assert world.load("old.ckpt", "k").from_cache
    assert built(world.load("old.ckpt", "k", Mode.READ_ONLY)) is built(first)
    world.runtime.cache.evict("k")
    assert not world.load("old.ckpt", "k").from_cache


def test_without_the_cache_nothing_is_kept(world, write_model):
    write_model("m.safetensors")
    assert world.store.load_uncached(Recipe("ckpt", ("m.safetensors",))).how == "stock"
    assert len(world.runtime.cache) == 0


def test_when_memory_runs_short_outputs_go_first_then_the_oldest_model_that_nobody_uses(world, write_model):
    for name in "abcd":
        write_model(f"{name}.safetensors")
    models = {name: world.load(f"{name}.safetensors") for name in "abc"}
    built(models["a"]).used = True
    world.builder.outputs_freed = 1
    refusals = iter([True, True])
    states = []

    def refuse(paths, key, load):
        states.append((world.builder.outputs_freed, sorted(r.files[0][0] for r, _ in world.store._shelf.built)))
        if next(refusals, False):
            raise longshore.OutOfBudgetError("no room")

    world.runtime.before = refuse
    world.load("d.safetensors")
    assert states == [(1, ["a", "b", "c"]), (0, ["a", "b", "c"]), (0, ["a", "c"])]


def test_when_all_is_in_use_the_refusal_reaches_the_user(world, write_model):
    write_model("a.safetensors"), write_model("b.safetensors")
    built(world.load("a.safetensors")).used = True

    def refuse(paths, key, load):
        raise longshore.OutOfBudgetError("no room: a.safetensors holds it")

    world.runtime.before = refuse
    with pytest.raises(MemoryError, match="a.safetensors holds it"):
        world.load("b.safetensors")
    world.runtime.before = None
    assert world.load("a.safetensors").from_cache


def test_an_interrupt_cancels_the_load_and_leaves_nothing(world, write_model):
    write_model("m.safetensors")
    begun, go_on, ended = threading.Event(), threading.Event(), threading.Event()

    def wait(paths, key, load):
        begun.set()
        go_on.wait(60)
        ended.set()

    class Interrupted(Exception):
        pass

    class Impatient(Quiet):
        def check(self):
            if begun.is_set():
                raise Interrupted

    world.runtime.before = wait
    with pytest.raises(Interrupted):
        world.load("m.safetensors", "k", watch=Impatient())
    go_on.set()
    assert ended.wait(60)
    world.runtime.before = None
    assert not world.load("m.safetensors", "k").from_cache


def test_two_threads_that_load_the_same_build_it_once(world, write_model):
    write_model("m.safetensors")
    found = []
    threads = [
        threading.Thread(target=lambda key=key: found.append(built(world.load("m.safetensors", key)))) for key in "abcd"
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4 and len(set(map(id, found))) == 1 and len(world.builder.built) == 1


def test_type_and_hold_reach_the_runtime_and_the_type_stays_with_the_model(world, write_model):
    write_model("m.safetensors")
    world.builder.type = "float32"
    world.load("m.safetensors", "k")
    world.builder.type = None
    world.load("m.safetensors", "other")
    assert world.runtime.dtypes == ["float32"] and set(world.runtime.holds) == {"owned"}


def test_a_load_that_waits_for_memory_gets_that_of_models_nobody_uses(world, write_model):
    write_model("a.safetensors"), write_model("b.safetensors")
    gone = threading.Event()
    weakref.finalize(built(world.load("a.safetensors")), gone.set)

    def wait_for_room(paths, key, load):
        load.progress = (0, 8, "memory")
        assert gone.wait(60)

    world.runtime.before = wait_for_room
    assert world.load("b.safetensors").from_cache is False


def test_models_end_in_the_thread_that_runs_workflows(world, write_model):
    write_model("m.safetensors")
    ended = []
    weakref.finalize(built(world.load("m.safetensors", "k")), lambda: ended.append(threading.current_thread()))
    world.store.remove("k")
    assert world.store._chores.do(lambda: None).wait(60)
    assert ended == [world.worker.thread]
