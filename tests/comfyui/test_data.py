"""Values under keys."""
import pytest
from fake_queue import PromptQueue, Worker
from fake_runtime import FakeRuntime
from pack.chores import Chores
from pack.data import DataCache, NotData, bytes_of


@pytest.fixture
def cache():
    return FakeRuntime().cache


@pytest.fixture
def data(cache):
    queue = PromptQueue()
    worker = Worker(queue)
    yield DataCache(cache, Chores(queue, lambda: None))
    worker.stop()


@pytest.mark.parametrize("key", ["girl latent 3", 3])
def test_a_value_comes_back(data, key):
    value = {"samples": object()}
    data.put(key, value, "latent")
    assert data.get(key) == [value] and key in data


def test_a_list_comes_back_as_a_list(data):
    data.put("k", [1, 2], is_list=True)
    assert data.get("k") == [1, 2]
    data.put("k", [1, 2])
    assert data.get("k") == [[1, 2]]


def test_none_can_be_stored(data):
    data.put("k", None)
    assert data.get("k") == [None] and "k" in data


def test_a_number_and_the_same_digits_are_two_keys(data):
    data.put(7, "number")
    data.put("7", "text")
    assert data.get(7) == ["number"] and data.get("7") == ["text"]


def test_an_absent_key_gives_none_and_a_warning(data, caplog):
    assert data.get("k") == [None]
    assert "nothing is stored under 'k'" in caplog.text


def test_the_star_is_reserved(data):
    with pytest.raises(ValueError, match="'\\*'"):
        data.put("*", 1)


def test_removing(data, caplog):
    data.put("a", 1), data.put("b", 2), data.put(3, 3)
    data.remove("a")
    assert "a" not in data and "b" in data
    data.remove("a")
    assert "there is no key 'a'" in caplog.text
    data.remove("*")
    assert "b" not in data and 3 not in data


def test_the_weak_hash_moves_with_each_change(data):
    seen = [data.weak_hash("k")]
    for act in (lambda: data.put("k", 1), lambda: data.put("k", 1), lambda: data.remove("k"), lambda: data.put("k", 1)):
        act()
        seen.append(data.weak_hash("k"))
    assert len(set(seen)) == len(seen)


def test_a_models_key_is_refused_by_its_kind_and_stays_when_all_values_go(cache, data):
    cache.put("m", object(), size=1, kind="vae")
    with pytest.raises(NotData, match="key of a vae, not of data"):
        data.get("m")
    with pytest.raises(NotData, match="key of a vae, not of data"):
        data.put("m", 1)
    data.remove("*")
    assert "m" in cache


def test_tensors_count_wherever_they_are():
    import torch
    latent = {"samples": torch.zeros(4, 8), "more": [(torch.zeros(2), {"mask": torch.zeros(3)}), "text", 5]}
    assert bytes_of([latent]) == 4 * (32 + 2 + 3)


def test_values_that_contain_themselves_are_measured_too():
    loop = []
    loop.append(loop)
    assert bytes_of(loop) == 0


def test_size_and_tag_are_known_to_the_cache(cache, data):
    import torch
    data.put("k", torch.zeros(10), "picture")
    (entry,) = cache.entries()
    assert (entry.memory_bytes, entry.kind, data.tag(entry)) == (40, "data", "picture")
