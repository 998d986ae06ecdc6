"""Files that change, break or go, memory that runs out, loads that are given up: what is seen, and that it goes on."""
import json
import os
import threading

import models
import pytest
from server import PromptFailed
from workflows import node, shared, show, stock

CKPT = "tiny0.safetensors"


def failure(server, workflow, **more):
    with pytest.raises(PromptFailed) as failed:
        server.run(workflow, **more)
    assert server.is_alive()
    return failed.value.details


@pytest.fixture
def place(own_base):
    return own_base / "models" / "checkpoints" / CKPT


@pytest.fixture
def server(own_server, own_base):
    return own_server(folder=own_base)


def test_a_file_replaced_damaged_and_removed_while_it_is_cached(server, place):
    first = server.run(shared(CKPT)).pixels()
    place.unlink()
    models.write(place, models.layout("sd15-tiny"), seed=77)
    second = server.run(shared(CKPT)).pixels()
    assert second != first and second == server.run(stock(CKPT)).pixels()

    whole = place.read_bytes()
    os.truncate(place, len(whole) // 2)  # in place, as a copy over it that is broken off
    damaged = failure(server, shared(CKPT))["exception_message"]
    assert CKPT in damaged
    read_only = shared("tiny1.safetensors", key_opt=CKPT, mode="Read Only")
    assert server.run(read_only).pixels() == second

    place.unlink()
    assert CKPT in json.dumps(failure(server, shared(CKPT, key_opt="k")))
    place.write_bytes(whole)
    assert server.run(shared(CKPT)).pixels() == second


def test_a_file_that_lacks_tensors_is_an_error_that_names_it(server, place):
    tensors = models.layout("sd15-tiny")
    models.write(place.with_name("holes.safetensors"), {n: t for n, t in tensors.items() if "output_blocks.1" not in n})
    assert "holes.safetensors" in failure(server, shared("holes.safetensors"))["exception_message"]
    assert server.run(shared(CKPT)).outputs


def test_a_file_cut_short_in_place_reaches_no_model_that_is_cached(server, own_base):
    place = own_base / "models" / "text_encoders" / "cut.safetensors"
    models.write(place, models.layout("clip_l"), seed=5)
    place.read_bytes()  # the page cache has it, so it could be mapped
    loader = {"C": node("LongshoreTextEncoderLoader", model_name1=place.name, type="stable_diffusion", key_opt="cut")}
    text = {"T": node("CLIPTextEncode", clip=["C", 0], text="a pier"), "P": node("PreviewAny", source=["T", 0])}
    expected = server.run({**loader, **text}).text("P")
    os.truncate(place, 1000)
    loader["C"]["inputs"]["mode"] = "Read Only"
    assert server.run({**loader, **text}).text("P") == expected


def test_a_full_budget_lets_go_of_what_nobody_uses_and_names_who_has_the_rest(own_server, own_base):
    # In memory its F16 is F32: room for one and a half.
    size = os.stat(own_base / "models" / "checkpoints" / CKPT).st_size
    limits = {"LONGSHORE_HOST_LIMIT": str(3 * size), "LONGSHORE_WARM": "0", "LONGSHORE_MEMORY_TIMEOUT": "2"}
    server = own_server(limits, folder=own_base)
    for seed in range(4):
        models.write(own_base / "models" / "checkpoints" / f"new{seed}.safetensors", models.layout("sd15-tiny"), seed)
    expected = [server.run(stock(f"new{seed}.safetensors")).pixels() for seed in range(4)]
    for seed in range(4):
        workflow = shared(f"new{seed}.safetensors")
        assert server.run(workflow).pixels() == expected[seed]
    status = server.json("/longshore/status")
    assert status["budgets"][0]["used"] <= status["budgets"][0]["limit"]

    everything = {
        f"L{seed}": node("LongshoreCheckpointLoader", ckpt_name=f"new{seed}.safetensors", mode="Override Cache")
        for seed in range(4)
    } | {f"show{seed}": node("PreviewAny", source=[f"L{seed}", 0]) for seed in range(4)}
    details = failure(server, everything)
    assert "in the way: 'new" in details["exception_message"]
    assert server.run(shared("new0.safetensors")).pixels() == expected[0]


@pytest.fixture
def slow_file(own_base):
    """A checkpoint of 4 GB of zeros that take no room on disk: long enough to load that a button is pressed meanwhile."""
    tensors = {f"model.diffusion_model.block.{i}": {"dtype": "F16", "shape": [1 << 26]} for i in range(32)}
    at = 0
    for facts in tensors.values():
        facts["data_offsets"] = [at, at := at + (1 << 27)]
    head = json.dumps(tensors).encode()
    head += b" " * (-len(head) % 8)
    path = own_base / "models" / "checkpoints" / "slow.safetensors"
    with path.open("wb") as file:
        file.write(len(head).to_bytes(8, "little") + head)
        file.truncate(8 + len(head) + at)
    return path.name


def on_first(kind, act):
    """An on_event that acts at the first event of a kind, and only then."""
    once = threading.Event()

    def on_event(event):
        if event["type"] == kind and not once.is_set():
            once.set()
            act()

    return on_event


def test_interrupt_and_free_while_loading(own_server, own_base, slow_file):
    server = own_server(folder=own_base)
    expected = server.run(shared(CKPT)).pixels()
    interrupted = failure(
        server, {"L": node("LongshoreCheckpointLoader", ckpt_name=slow_file), **show("L", 3)},
        on_event=on_first("progress", server.interrupt),
    )  # fmt: skip
    assert "exception_message" not in interrupted and interrupted["node_id"] == "L"
    assert slow_file not in {entry["key"] for entry in server.json("/longshore/status")["entries"]}
    free = on_first("executing", lambda: server.free(free_memory=True, unload_models=True))
    assert server.run(shared("tiny1.safetensors"), on_event=free).outputs
    assert server.run(shared(CKPT)).pixels() == expected


def test_preloading_says_what_failed_and_a_workflow_waits_for_its_own(own_server, own_base, tmp_path):
    config = tmp_path / "preload_config.json"
    config.write_text(
        json.dumps(
            {
                "models": {
                    "checkpoints": [{"name": "gone.safetensors"}, {"name": CKPT, "cache_key": "first"}],
                    "vaes": [{"vae_name": "vae.safetensors"}, {"vae_name": 3}],
                    "text_encoders": [{"clip_names": ["clip3.safetensors"], "type": "stable_diffusion"}],
                    "diffusion_models": [{"model_name": "unet.safetensors"}],
                },
                "settings": {"auto_gpu_load": True, "verbose": True},
            }
        )
    )
    server = own_server({"LONGSHORE_PRELOAD_CONFIG": str(config)}, folder=own_base)
    # The last of the list is asked for while the others are loading.
    chosen = {"L": node("LongshorePreloadedDiffusionModel", key="unet.safetensors_default"), **show("L", 1)}
    assert server.run(chosen).text("show") == "unet.safetensors, weight_dtype: default"
    assert "bytes shared" in server.log  # that is said only where the configuration is verbose
    info = server.run({"I": node("LongshoreCacheInfo")}).text("I")
    assert "gone.safetensors: failed" in info
    problems = server.json("/longshore/status")["config"]["problems"]
    assert problems == ["/models/vaes/1: vae_name: text is expected, not 3"]
    waiting = {
        "L": node("LongshorePreloadedCheckpoint", key="first"),
        "C": node("LongshorePreloadedTextEncoder", key="clip3.safetensors_stable_diffusion_default"),
        "V": node("LongshorePreloadedVAE", key="vae.safetensors"),
        "P": node("PreviewAny", source=["L", 3]), "Q": node("PreviewAny", source=["C", 1]), **show("V", 1),
    }  # fmt: skip
    said = server.run(waiting)
    assert said.text("P") == "first" and "stable_diffusion" in said.text("Q") and said.text("show") == "vae.safetensors"
