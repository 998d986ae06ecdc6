"""Workflows of the two packs, migrated, run with the same pixels as ComfyUI's own loaders."""
import pytest
from longshore.comfyui.migrate import migrate
from workflows import node, shared, show, stock, txt2img

CKPT = "tiny0.safetensors"
CHECKPOINTS = {
    "inspire": node("CheckpointLoaderSimpleShared //Inspire", ckpt_name=CKPT, key_opt="", mode="Auto"),
    "inspire, overridden": node(
        "CheckpointLoaderSimpleShared //Inspire", ckpt_name=CKPT, key_opt="k", mode="Override Cache"
    ),
    "snapshot": node("CachedCheckpointLoader", ckpt_name=CKPT, use_cache=True, cache_key=""),
    "snapshot, chosen": node("PreloadedModelSelector", model_name=CKPT),
}
PARTS = {
    "inspire": {
        "L": node(
            "LoadDiffusionModelShared //Inspire",
            model_name="unet.safetensors", weight_dtype="default", key_opt="", mode="Auto",
        ),
        "C": node(
            "LoadTextEncoderShared //Inspire", model_name1="clip3.safetensors", model_name2="None",
            model_name3="None", type="stable_diffusion", key_opt="", mode="Auto", device="default",
        ),
    },
    "snapshot": {
        "L": node("CachedDiffusionModelLoader", model_name="unet.safetensors", weight_dtype="default"),
        "C": node("CachedTextEncoderLoader", clip_name1="clip3.safetensors", type="stable_diffusion"),
    },
}  # fmt: skip


@pytest.mark.parametrize("loader", CHECKPOINTS.values(), ids=CHECKPOINTS)
def test_checkpoints(real, loader):
    real.run(shared(CKPT))  # so that there is something to choose
    migrated = migrate(txt2img({"L": loader})).document
    assert real.run(migrated).pixels() == real.run(stock(CKPT)).pixels()


@pytest.mark.parametrize("loaders", PARTS.values(), ids=PARTS)
def test_models_in_parts(real, loaders):
    vae = {"V": node("VAELoader", vae_name="vae.safetensors")}
    migrated = migrate(txt2img({**loaders, **vae}, clip=("C", 0), vae=("V", 0))).document
    theirs = {
        "L": node("UNETLoader", unet_name="unet.safetensors", weight_dtype="default"),
        "C": node("CLIPLoader", clip_name="clip3.safetensors", type="stable_diffusion"),
    }
    expected = real.run(txt2img({**theirs, **vae}, clip=("C", 0), vae=("V", 0)))
    assert real.run(migrated).pixels() == expected.pixels()


def test_values(real):
    store = node("CacheBackendData //Inspire", key="moved", tag="t", data=["V", 0])
    real.run(migrate({"V": node("PrimitiveString", value="kept"), "W": store}).document)
    retrieve = migrate({"R": node("RetrieveBackendData //Inspire", key="moved"), **show("R", 0)}).document
    assert real.run(retrieve).text("show") == "kept"
