"""The same pixels as ComfyUI's own loaders, for every loader node and every way to a model."""
import pytest
from workflows import checkpoint, node, shared, stock, txt2img, with_lora

PARTS = {
    "L": node("UNETLoader", unet_name="unet.safetensors", weight_dtype="default"),
    "C": node("CLIPLoader", clip_name="clip3.safetensors", type="stable_diffusion"),
    "V": node("VAELoader", vae_name="vae.safetensors"),
}
OUR_PARTS = {
    "shared": {
        "L": node("LongshoreDiffusionModelLoader", model_name="unet.safetensors", weight_dtype="default"),
        "C": node("LongshoreTextEncoderLoader", model_name1="clip3.safetensors", type="stable_diffusion"),
        "V": node("LongshoreVAELoader", vae_name="vae.safetensors"),
    },
    "cached": {
        "L": node("LongshoreCachedDiffusionModelLoader", model_name="unet.safetensors", weight_dtype="default"),
        "C": node("LongshoreCachedTextEncoderLoader", clip_name1="clip3.safetensors", type="stable_diffusion"),
        "V": node("LongshoreCachedVAELoader", vae_name="vae.safetensors"),
    },
    "chosen": {
        "L": node("LongshorePreloadedDiffusionModel", key="unet.safetensors_default"),
        "C": node("LongshorePreloadedTextEncoder", key="clip3.safetensors_stable_diffusion_default"),
        "V": node("LongshorePreloadedVAE", key="vae.safetensors"),
    },
}
CHECKPOINTS = {
    "shared": checkpoint("tiny0.safetensors"),
    "unclip": checkpoint("tiny0.safetensors", "LongshoreUnCLIPCheckpointLoader", key_opt="unclip"),
    "cached": checkpoint("tiny0.safetensors", "LongshoreCachedCheckpointLoader"),
    "uncached": checkpoint("tiny0.safetensors", "LongshoreCachedCheckpointLoader", use_cache=False),
    "chosen": {"L": node("LongshorePreloadedCheckpoint", key="tiny0.safetensors")},
}


def of_parts(loaders, **more):
    return txt2img(loaders, clip=("C", 0), vae=("V", 0), **more)


@pytest.fixture(scope="session")
def expected(real):
    """expected(workflow) -> the pixels that a workflow of ComfyUI's own nodes gives."""
    known = {}

    def pixels(workflow):
        text = repr(workflow)
        if text not in known:
            known[text] = real.run(workflow).pixels()
        return known[text]

    return pixels


def test_the_two_checkpoints_and_the_lora_give_different_pixels(expected):
    one, two = stock("tiny0.safetensors"), stock("tiny1.safetensors")
    assert len({expected(one), expected(two), expected(with_lora(one, "lora.safetensors", 1.0))}) == 3


@pytest.mark.parametrize("loaders", CHECKPOINTS.values(), ids=CHECKPOINTS)
def test_checkpoint_loaders_first_then_from_the_cache_then_after_eviction(real, expected, loaders):
    real.run(shared("tiny0.safetensors"))  # so that there is something to choose
    for seed in (1, 2):
        workflow = txt2img(loaders, seed=seed)
        assert real.run(workflow).pixels() == expected(txt2img(_stock(), seed=seed))
    real.free(free_memory=True)
    real.run(shared("tiny0.safetensors", mode="Override Cache"))
    assert real.run(txt2img(loaders, seed=3)).pixels() == expected(txt2img(_stock(), seed=3))


def _stock():
    return checkpoint("tiny0.safetensors", "CheckpointLoaderSimple")


@pytest.mark.parametrize("loaders", OUR_PARTS.values(), ids=OUR_PARTS)
def test_loaders_of_the_parts_first_then_from_the_cache(real, expected, loaders):
    for seed in (1, 2):
        assert real.run(of_parts(loaders, seed=seed)).pixels() == expected(of_parts(PARTS, seed=seed))


@pytest.mark.parametrize("weight_dtype", ["fp8_e4m3fn", "fp8_e5m2", "fp8_e4m3fn_fast"])
def test_types_of_weights(real, expected, weight_dtype):
    def workflow(loaders):
        loader = {**loaders["L"], "inputs": {**loaders["L"]["inputs"], "weight_dtype": weight_dtype}}
        return of_parts({**loaders, "L": loader})

    assert real.run(workflow(OUR_PARTS["shared"])).pixels() == expected(workflow(PARTS))


def test_two_text_encoders_whose_tensors_have_the_same_names(real):
    def conditioning(loader):
        shown = {"T": node("CLIPTextEncode", clip=["C", 0], text="a pier"), "P": node("PreviewAny", source=["T", 0])}
        return real.run({"C": loader, **shown}).text("P")

    names = {"1": "clip3.safetensors", "2": "clip4.safetensors"}
    ours = node("LongshoreTextEncoderLoader", type="sd3", **{f"model_name{i}": name for i, name in names.items()})
    theirs = node("DualCLIPLoader", type="sd3", **{f"clip_name{i}": name for i, name in names.items()})
    assert conditioning(ours) == conditioning(theirs)


def test_a_vae_that_is_no_safetensors_file(real, expected):
    def workflow(loaders, name):
        loader = {**loaders["V"], "inputs": {**loaders["V"]["inputs"], "vae_name": name}}
        return of_parts({**loaders, "V": loader})

    assert real.run(workflow(OUR_PARTS["shared"], "vae.pt")).pixels() == expected(workflow(PARTS, "vae.safetensors"))


def test_a_lora_of_one_workflow_never_reaches_another(real, expected):
    plain, theirs = shared("tiny0.safetensors", key_opt="lora"), stock("tiny0.safetensors")
    for strength in (1.0, 0.5):
        patched = with_lora(plain, "lora.safetensors", strength)
        assert real.run(patched).pixels() == expected(with_lora(theirs, "lora.safetensors", strength))
        assert real.run(plain).pixels() == expected(theirs)
    other_key = shared("tiny0.safetensors", key_opt="lora too")
    assert real.run(other_key).pixels() == expected(theirs)


def test_two_workflows_in_turn(real, expected):
    for seed in (11, 12):
        for name in ("tiny0.safetensors", "tiny1.safetensors"):
            loaded = real.run(txt2img(checkpoint(name), seed=seed))
            assert loaded.pixels() == expected(txt2img(checkpoint(name, "CheckpointLoaderSimple"), seed=seed))


@pytest.mark.parametrize("cache_mode", ["none", "stage_b", "stage_c", "all"])
def test_the_pair_of_stable_cascade_with_each_cache_mode(real, expected, cache_mode):
    """Two ordinary checkpoints stand for the stages: what is tested is which is which, and which stays."""
    real.free(free_memory=True)
    pair = node(
        "LongshoreStableCascadeLoader", stage_b="tiny0.safetensors", stage_c="tiny1.safetensors",
        cache_mode=cache_mode, key_opt_b=f"b {cache_mode}", key_opt_c=f"c {cache_mode}",
    )  # fmt: skip
    for name, model, vae in (("tiny0.safetensors", 0, 1), ("tiny1.safetensors", 2, 3)):
        ours = txt2img({"L": pair}, model=("L", model), clip=("L", 5), vae=("L", vae))
        theirs = txt2img(
            {"L": node("CheckpointLoaderSimple", ckpt_name=name), **{"C": _stock()["L"]}}, clip=("C", 1)
        )
        assert real.run(ours).pixels() == expected(theirs)
    kept = {entry["key"]: entry["kind"] for entry in real.json("/longshore/status")["entries"]}
    assert (kept.get(f"b {cache_mode}") == "ckpt") == (cache_mode in ("stage_b", "all"))
    assert (kept.get(f"c {cache_mode}") == "unclip_ckpt") == (cache_mode in ("stage_c", "all"))


@pytest.mark.parametrize("weights", ["alias", "auto"])
def test_both_policies_of_the_weights(own_server, weights):
    server = own_server({"LONGSHORE_WEIGHTS": weights})
    assert server.run(shared("tiny1.safetensors")).pixels() == server.run(stock("tiny1.safetensors")).pixels()
    assert server.run(of_parts(OUR_PARTS["shared"])).pixels() == server.run(of_parts(PARTS)).pixels()
