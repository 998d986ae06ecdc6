"""Every mode, kind and error of the nodes in a real ComfyUI, as the user sees them."""
import json

import pytest
from server import PromptFailed
from workflows import checkpoint, node, shared, show

CKPT = "tiny0.safetensors"


def key_of(real, loaders, slot=3):
    return real.run({**loaders, **show("L", slot)}).text("show")


def failure(real, workflow):
    with pytest.raises(PromptFailed) as failed:
        real.run(workflow)
    assert real.is_alive()
    return failed.value.details["exception_message"].strip()


@pytest.mark.parametrize(
    "loader, slot, key",
    [
        (node("LongshoreCheckpointLoader", ckpt_name=CKPT), 3, CKPT),
        (node("LongshoreUnCLIPCheckpointLoader", ckpt_name=CKPT, key_opt="u"), 4, "u"),
        (node("LongshoreVAELoader", vae_name="vae.safetensors"), 1, "vae.safetensors"),
        (
            node("LongshoreDiffusionModelLoader", model_name="unet.safetensors", weight_dtype="fp8_e5m2"),
            1, "unet.safetensors_fp8_e5m2",
        ),
        (
            node("LongshoreTextEncoderLoader", model_name1="clip3.safetensors", type="stable_diffusion", device="cpu"),
            1, "clip3.safetensors_stable_diffusion_cpu",
        ),
    ],
)  # fmt: skip
def test_the_key_that_comes_out(real, loader, slot, key):
    assert key_of(real, {"L": loader}, slot) == key


def test_a_given_key_comes_out_without_the_blanks_around_it(real):
    assert key_of(real, checkpoint(CKPT, key_opt=" mine ")) == "mine"


@pytest.mark.parametrize(
    "loader",
    [
        node("LongshoreCheckpointLoader", ckpt_name=CKPT),
        node("LongshoreUnCLIPCheckpointLoader", ckpt_name=CKPT),
        node("LongshoreVAELoader", vae_name="vae.safetensors"),
        node("LongshoreDiffusionModelLoader", model_name="unet.safetensors", weight_dtype="default"),
        node("LongshoreTextEncoderLoader", model_name1="clip3.safetensors", type="stable_diffusion"),
    ],
    ids=lambda loader: loader["class_type"],
)
def test_read_only_wants_a_key_that_is_there(real, loader):
    def with_key(key):
        return {"L": {**loader, "inputs": {**loader["inputs"], "key_opt": key, "mode": "Read Only"}}, **show("L", 0)}

    assert "needs that model's key" in failure(real, with_key(""))
    real.run(shared(CKPT, key_opt="harbour"))
    message = failure(real, with_key("harbuor"))
    assert "harbuor" in message and "harbour" in message


def test_read_only_takes_the_key_and_no_file(real):
    real.run(shared(CKPT, key_opt="ro"))
    theirs = real.run(shared(CKPT)).pixels()
    assert real.run(shared("tiny1.safetensors", key_opt="ro", mode="Read Only")).pixels() == theirs


@pytest.mark.parametrize("mode", ["Auto", "Read Only"])
def test_another_kind_under_the_key_names_both_kinds(real, mode):
    real.run({"L": node("LongshoreVAELoader", vae_name="vae.safetensors", key_opt="kind"), **show("L", 1)})
    message = failure(real, shared(CKPT, key_opt="kind", mode=mode))
    assert "vae" in message and "ckpt" in message


@pytest.mark.parametrize("mode", ["Auto", "Read Only"])
def test_a_checkpoint_loader_takes_an_unclip_checkpoints_key(real, mode):
    unclip = node("LongshoreUnCLIPCheckpointLoader", ckpt_name=CKPT, key_opt="with vision")
    assert key_of(real, {"L": unclip}, 4) == "with vision"
    expected = real.run(shared(CKPT)).pixels()
    assert real.run(shared(CKPT, key_opt="with vision", mode=mode)).pixels() == expected
    kinds = {entry["key"]: entry["kind"] for entry in real.json("/longshore/status")["entries"]}
    assert kinds["with vision"] == "unclip_ckpt"


def test_override_takes_a_key_from_another_kind(real):
    real.run({"L": node("LongshoreVAELoader", vae_name="vae.safetensors", key_opt="taken"), **show("L", 1)})
    expected = real.run(shared(CKPT)).pixels()
    assert real.run(shared(CKPT, key_opt="taken", mode="Override Cache")).pixels() == expected


def test_the_same_graph_again_runs_nothing(real):
    workflow = shared(CKPT, key_opt="again")
    real.run(workflow)
    assert set(real.run(workflow).cached) == set(workflow)


def test_a_text_encoder_chosen_twice(real):
    loader = node(
        "LongshoreTextEncoderLoader", model_name1="clip3.safetensors", model_name2="clip3.safetensors", type="sdxl"
    )
    assert "'clip3.safetensors' is chosen 2 times" in failure(real, {"L": loader, **show("L", 1)})


def test_cached_loaders_say_what_they_did(real):
    def facts(**inputs):
        loader = node("LongshoreCachedCheckpointLoader", ckpt_name=CKPT, **inputs)
        said = real.run({"L": loader, "I": node("PreviewAny", source=["L", 3]), "F": node("PreviewAny", source=["L", 4])})
        return said.text("I"), said.text("F")

    real.free(free_memory=True)
    assert facts() == (f"Loaded, and kept as {CKPT}", "False")
    real.free(unload_models=True)
    assert facts(cache_key=f" {CKPT}") == (f"From the cache: {CKPT}", "True")
    info, from_cache = facts(use_cache=False)
    assert "ComfyUI's own loader" in info and from_cache == "False"


def test_a_selector_that_has_nothing_to_choose(real):
    real.free(free_memory=True)
    message = failure(real, {"L": node("LongshorePreloadedVAE", key="gone.safetensors"), **show("L", 1)})
    assert "gone.safetensors" in message
    with pytest.raises(PromptFailed, match="choose a model"):
        real.run({"L": node("LongshorePreloadedVAE", key=""), **show("L", 1)})


def test_selectors_list_what_is_there(real):
    real.run(shared(CKPT, key_opt="listed"))
    assert "listed" in real.json("/longshore/keys/ckpt") and "listed" not in real.json("/longshore/keys/vae")


def test_what_is_known_of_the_cache(real):
    real.run(shared(CKPT, key_opt="known"))
    status = node("LongshoreCacheStatus", ckpt_name=CKPT, cache_key="known")
    said = real.run(
        {
            "S": status, "A": node("PreviewAny", source=["S", 0]), "B": node("PreviewAny", source=["S", 1]),
            "info": node("LongshoreCacheInfo"), "all": node("LongshoreShowCache"),
        }
    )  # fmt: skip
    assert said.text("A") == "True" and f"known (ckpt; {CKPT})" in said.text("B")
    assert "known: ckpt, " in said.text("info") and "known: ckpt, " in said.text("all")


# ---- values


def stored(key, value="a tide table", store="LongshoreStoreData", tag="t"):
    return {
        "V": node("PrimitiveString", value=value),
        "W": node(store, key=key, tag=tag, data=["V", 0]),
        **show("W", 0),
    }


def retrieved(real, key, retrieve="LongshoreRetrieveData"):
    return real.run({"R": node(retrieve, key=key), **show("R", 0)}).text("show")


def test_a_value_outlives_its_workflow_and_shows_in_lists(real):
    real.run(stored("tides"))
    assert retrieved(real, "tides") == "a tide table"
    assert "tides: data (t)" in real.run({"all": node("LongshoreShowCache")}).text("all")


def test_a_value_that_is_replaced_is_retrieved_anew(real):
    real.run(stored("tides", "low"))
    assert retrieved(real, "tides") == "low"
    real.run(stored("tides", "high"))
    assert retrieved(real, "tides") == "high"


def test_number_keys(real):
    real.run(stored(12, "twelve", "LongshoreStoreDataNumber"))
    assert retrieved(real, 12, "LongshoreRetrieveDataNumber") == "twelve"
    real.run({"X": node("LongshoreRemoveDataNumber", key=12)})
    assert retrieved(real, 12, "LongshoreRetrieveDataNumber") == "None"


@pytest.mark.parametrize(
    "store, retrieve, key",
    [
        ("LongshoreStoreDataList", "LongshoreRetrieveData", "list"),
        ("LongshoreStoreDataNumberList", "LongshoreRetrieveDataNumber", 5),
    ],
)
def test_lists_come_out_as_lists(real, store, retrieve, key):
    real.run(stored(key, "one", store))
    result = real.run({"R": node(retrieve, key=key), **show("R", 0)})
    assert result.outputs["show"]["text"] == ["one"]


def test_a_model_can_be_stored_and_used(real):
    workflow = shared(CKPT, key_opt="for storing")
    expected = real.run(workflow).pixels()
    real.run({"L": workflow["L"], "W": node("LongshoreStoreData", key="a model", tag="", data=["L", 0])})
    workflow["R"] = node("LongshoreRetrieveData", key="a model")
    workflow["sampler"] = node("KSampler", **{**workflow["sampler"]["inputs"], "model": ["R", 0]})
    assert real.run(workflow).pixels() == expected


def test_is_cached_is_asked_anew(real):
    def cached():
        return real.run({"Q": node("LongshoreIsCached", key="asked"), **show("Q", 0)}).text("show")

    real.run({"X": node("LongshoreRemoveData", key="asked")})
    assert cached() == "False"
    real.run(stored("asked"))
    assert cached() == "True"
    real.run({"X": node("LongshoreRemoveData", key="asked")})
    assert cached() == "False"


def test_the_star_empties_the_cache_and_cannot_be_stored(real):
    real.run(shared(CKPT, key_opt="starred"))
    real.run(stored("tides"))
    assert "'*'" in failure(real, stored("*"))
    real.run({"X": node("LongshoreRemoveData", key="*")})
    assert real.json("/longshore/status")["entries"] == []


def test_a_models_key_and_values_do_not_mix(real):
    real.run(shared(CKPT, key_opt="mixed"))
    assert "ckpt" in failure(real, {"R": node("LongshoreRetrieveData", key="mixed"), **show("R", 0)})
    assert "ckpt" in failure(real, stored("mixed"))
    real.run(stored("value"))
    message = failure(real, shared(CKPT, key_opt="value", mode="Read Only"))
    assert "data" in message and "ckpt" in message


# ---- the routes


def test_the_status_is_json_with_budgets_and_entries(real):
    real.run(shared(CKPT, key_opt="status"))
    status = real.json("/longshore/status")
    (entry,) = [entry for entry in status["entries"] if entry["key"] == "status"]
    assert entry["kind"] == "ckpt" and entry["bytes"] > 1e8 and entry["leases"] >= 1
    assert [budget["name"] for budget in status["budgets"]] == ["memory", "pinned_memory"]


def test_load_pin_and_evict_by_the_panel(real):
    assert real.json("/longshore/load", {"kind": "vae", "files": ["vae.safetensors"], "key": "p"}) == {"key": "p"}
    real.json("/longshore/pin", {"key": "p", "pinned": True})
    real.free(free_memory=True)
    real.run(shared(CKPT))
    entries = {entry["key"]: entry for entry in real.json("/longshore/status")["entries"]}
    assert entries["p"]["pinned"]
    real.json("/longshore/pin", {"key": "p", "pinned": False})
    assert real.json("/longshore/evict", {"key": "p"}) == {"key": "p"}
    assert "there is no 'p'" in real.json("/longshore/evict", {"key": "p"})["error"]


@pytest.mark.parametrize(
    "name", ["../checkpoints/tiny0.safetensors", "/etc/passwd", "..", "", "nothing.safetensors", ["vae.safetensors"]]
)
def test_no_file_is_loaded_that_no_menu_shows(real, name):
    status, body = real.request("/longshore/load", {"kind": "vae", "files": [name]})
    assert status == 400 and "there is no file" in json.loads(body)["error"]


@pytest.mark.parametrize(
    "path, body, problem",
    [
        ("load", [], "a JSON object is expected"),
        ("load", {"kind": ["vae"]}, "there is no kind ['vae']"),
        ("load", {"kind": "vae"}, "files: a list is expected"),
        ("load", {"kind": "vae", "files": []}, "one file is expected"),
        ("load", {"kind": "vae", "files": ["vae.safetensors"], "key": 3}, "key: text is expected"),
        ("load", {"kind": "text_encoder", "files": ["clip3.safetensors"], "type": {}}, "there is no type {}"),
        ("pin", {"pinned": True}, "key: text is expected"),
        ("pin", {"key": "nothing here", "pinned": True}, "nothing is cached under 'nothing here'"),
        ("evict", "all", "a JSON object is expected"),
    ],
)
def test_a_wrong_request_says_what_is_wrong(real, path, body, problem):
    status, answer = real.request(f"/longshore/{path}", body)
    assert status == 400 and problem in json.loads(answer)["error"]


def test_a_wrong_request_to_free_is_answered_as_ever(real):
    assert real.request("/free", [])[0] == 500 and real.is_alive()


@pytest.mark.parametrize(
    "headers, allowed",
    [
        ({}, True),
        ({"Sec-Fetch-Site": "same-origin"}, True),
        ({"Sec-Fetch-Site": "cross-site"}, False),
        ({"Sec-Fetch-Site": "same-site"}, False),
        ({"Origin": "http://elsewhere.example"}, False),
        ({"Origin": "null"}, False),
        ({"Content-Type": "text/plain"}, False),
    ],
)
def test_only_pages_of_the_server_may_ask(real, headers, allowed):
    body = {"kind": "vae", "files": ["vae.safetensors"]}
    status, _ = real.request("/longshore/load", body, headers)
    assert (status == 200) == allowed


def test_help_words_and_templates_are_served(real):
    pages = [f"/extensions/longshore/docs/LongshoreVAELoader/{language}.md" for language in ("en", "zh")]
    assert all(real.get(page).startswith(b"# ") for page in pages)
    words = real.json("/i18n")
    assert words["zh"]["nodeDefs"]["LongshoreVAELoader"]["inputs"]["vae_name"]["tooltip"] == "VAE 文件。"
    assert len(real.json("/workflow_templates")["longshore"]) >= 3
