"""Workflows in ComfyUI's API format."""


def node(class_type, **inputs):
    return {"class_type": class_type, "inputs": inputs}


def txt2img(loaders, model=("L", 0), clip=("L", 1), vae=("L", 2), seed=7, steps=1, size=64, text="a harbour at dawn"):
    """One picture. loaders: the nodes that load, by id; model, clip, vae: where their outputs are."""
    return {
        **loaders,
        "positive": node("CLIPTextEncode", clip=list(clip), text=text),
        "negative": node("CLIPTextEncode", clip=list(clip), text="fog"),
        "latent": node("EmptyLatentImage", width=size, height=size, batch_size=1),
        "sampler": node(
            "KSampler", model=list(model), positive=["positive", 0], negative=["negative", 0],
            latent_image=["latent", 0], seed=seed, steps=steps, cfg=4.0, sampler_name="euler", scheduler="normal",
            denoise=1.0,
        ),
        "decode": node("VAEDecode", samples=["sampler", 0], vae=list(vae)),
        "image": node("PreviewImage", images=["decode", 0]),
    }  # fmt: skip


def checkpoint(name, loader="LongshoreCheckpointLoader", **inputs):
    return {"L": node(loader, ckpt_name=name, **inputs)}


def stock(name):
    return txt2img(checkpoint(name, "CheckpointLoaderSimple"))


def shared(name, **inputs):
    return txt2img(checkpoint(name, **inputs))


def show(source, slot):
    """A workflow's end that shows one output as text."""
    return {"show": node("PreviewAny", source=[source, slot])}


def with_lora(workflow, lora, strength):
    """The same with a LoRA between the loader L and what uses it."""
    changed = {
        name: {
            **part,
            "inputs": {
                key: ["lora", value[1]] if isinstance(value, list) and value[0] == "L" and value[1] < 2 else value
                for key, value in part["inputs"].items()
            },
        }
        for name, part in workflow.items()
    }
    changed["lora"] = node(
        "LoraLoader", model=["L", 0], clip=["L", 1], lora_name=lora, strength_model=strength, strength_clip=strength
    )
    return changed
