"""The shared loaders: models by a cache key, in one of three modes."""
from __future__ import annotations

from typing import Any

import folder_paths
import nodes
from comfy_api.latest import io

from .pack import pack
from .recipe import NO_FILE, WEIGHT_DTYPES, Mode, Recipe, text_encoder
from .store import Loaded
from .watch import NodeWatch

CATEGORY = "Longshore/loaders"
CHECKPOINT_OUTPUTS = (io.Model.Output, io.Clip.Output, io.Vae.Output)


def file_input(name: str, kind_folder: str, **more: Any) -> io.Combo.Input:
    return io.Combo.Input(name, options=folder_paths.get_filename_list(kind_folder), **more)


def text_encoder_inputs(prefix: str) -> list[io.Input]:
    """Menus of up to four files, and the types that this ComfyUI knows for one file or for two."""
    files = folder_paths.get_filename_list("text_encoders")
    count = 4 if "QuadrupleCLIPLoader" in nodes.NODE_CLASS_MAPPINGS else 3
    more = [
        io.Combo.Input(f"{prefix}{number}", options=[NO_FILE, *files], default=NO_FILE, optional=True)
        for number in range(2, count + 1)
    ]
    return [io.Combo.Input(f"{prefix}1", options=files), io.Combo.Input("type", options=text_encoder_types()), *more]


def text_encoder_types() -> list[str]:
    known: dict[str, None] = {}
    for loader in (nodes.CLIPLoader, nodes.DualCLIPLoader):
        known.update(dict.fromkeys(loader.INPUT_TYPES()["required"]["type"][0]))
    return list(known)


def device_input() -> io.Combo.Input:
    return io.Combo.Input("device", options=["default", "cpu"], default="default", optional=True, advanced=True)


def key_inputs() -> list[io.Input]:
    return [
        io.String.Input("key_opt", default="", placeholder="empty: the file's name", optional=True),
        io.Combo.Input("mode", options=[mode.value for mode in Mode], default=Mode.AUTO.value, optional=True),
    ]


def key_output() -> io.String.Output:
    return io.String.Output(id="cache_key", display_name="cache key")


class _SharedLoader(io.ComfyNode):
    """A loader whose subclass says which recipe its inputs ask for."""

    @classmethod
    def recipe(cls, **inputs: Any) -> Recipe:
        raise NotImplementedError

    @classmethod
    def fingerprint_inputs(cls, key_opt: str = "", mode: str = Mode.AUTO.value, **inputs: Any) -> Any:
        if None in inputs.values():  # comes from another node, whose own change counts
            return None
        recipe, mode = cls.recipe(**inputs), Mode(mode)
        return pack().store.weak_hash(recipe, recipe.key_for(key_opt, mode), mode)

    @classmethod
    def execute(cls, key_opt: str = "", mode: str = Mode.AUTO.value, **inputs: Any) -> io.NodeOutput:
        recipe, mode = cls.recipe(**inputs), Mode(mode)
        loaded = pack().store.load(recipe, recipe.key_for(key_opt, mode), mode, NodeWatch())
        return io.NodeOutput(*cls.outputs(loaded), loaded.key)

    @classmethod
    def outputs(cls, loaded: Loaded) -> tuple[Any, ...]:
        return loaded.parts


class LongshoreCheckpointLoader(_SharedLoader):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LongshoreCheckpointLoader",
            display_name="Load Checkpoint (Longshore)",
            category=CATEGORY,
            description="Loads a checkpoint into the shared cache, or takes it from there.",
            search_aliases=["checkpoint", "ckpt", "load model", "shared checkpoint loader"],
            inputs=[file_input("ckpt_name", "checkpoints"), *key_inputs()],
            outputs=[*(output() for output in CHECKPOINT_OUTPUTS), key_output()],
        )

    @classmethod
    def recipe(cls, ckpt_name: str) -> Recipe:
        return Recipe("ckpt", (ckpt_name,))

    @classmethod
    def outputs(cls, loaded: Loaded) -> tuple[Any, ...]:
        return loaded.parts[:3]


class LongshoreUnCLIPCheckpointLoader(_SharedLoader):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LongshoreUnCLIPCheckpointLoader",
            display_name="Load unCLIP Checkpoint (Longshore)",
            category=CATEGORY,
            description="Loads a checkpoint with a CLIP vision model into the shared cache, or takes it from there.",
            search_aliases=["unclip"],
            inputs=[file_input("ckpt_name", "checkpoints"), *key_inputs()],
            outputs=[*(output() for output in CHECKPOINT_OUTPUTS), io.ClipVision.Output(), key_output()],
        )

    @classmethod
    def recipe(cls, ckpt_name: str) -> Recipe:
        return Recipe("unclip_ckpt", (ckpt_name,))


class LongshoreDiffusionModelLoader(_SharedLoader):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LongshoreDiffusionModelLoader",
            display_name="Load Diffusion Model (Longshore)",
            category=CATEGORY,
            description="Loads a diffusion model into the shared cache, or takes it from there.",
            search_aliases=["unet", "load unet", "shared diffusion model loader"],
            inputs=[
                file_input("model_name", "diffusion_models"),
                io.Combo.Input("weight_dtype", options=WEIGHT_DTYPES, default="default"),
                *key_inputs(),
            ],
            outputs=[io.Model.Output(), key_output()],
        )

    @classmethod
    def recipe(cls, model_name: str, weight_dtype: str) -> Recipe:
        return Recipe("diffusion_model", (model_name,), weight_dtype=weight_dtype)


class LongshoreTextEncoderLoader(_SharedLoader):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LongshoreTextEncoderLoader",
            display_name="Load Text Encoder (Longshore)",
            category=CATEGORY,
            description="Loads one to four text encoders, which work as one, into the shared cache, or takes them "
            "from there.",
            search_aliases=["clip", "load clip", "dual clip", "triple clip", "quadruple clip", "shared text encoder"],
            inputs=[*text_encoder_inputs("model_name"), *key_inputs(), device_input()],
            outputs=[io.Clip.Output(), key_output()],
        )

    @classmethod
    def recipe(cls, type: str, device: str = "default", **names: str) -> Recipe:
        return text_encoder([names[name] for name in sorted(names)], type, device)


class LongshoreVAELoader(_SharedLoader):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LongshoreVAELoader",
            display_name="Load VAE (Longshore)",
            category=CATEGORY,
            description="Loads a VAE into the shared cache, or takes it from there.",
            search_aliases=["vae", "shared vae loader"],
            inputs=[io.Combo.Input("vae_name", options=nodes.VAELoader.vae_list(nodes.VAELoader)), *key_inputs()],
            outputs=[io.Vae.Output(), key_output()],
        )

    @classmethod
    def recipe(cls, vae_name: str) -> Recipe:
        return Recipe("vae", (vae_name,))


def _preferred(files: list[str], stage: str) -> "str | None":
    """The file that is most likely that stage of Stable Cascade."""
    named = [name for name in files if stage in name.lower()]
    return next((name for name in named if "cascade" in name.lower()), next(iter(named or files), None))


class LongshoreStableCascadeLoader(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        files = folder_paths.get_filename_list("checkpoints")
        return io.Schema(
            node_id="LongshoreStableCascadeLoader",
            display_name="Load Stable Cascade (Longshore)",
            category=CATEGORY,
            description="Loads the two checkpoints of Stable Cascade and keeps those that cache_mode names.",
            search_aliases=["cascade", "stage b", "stage c"],
            inputs=[
                file_input("stage_b", "checkpoints", default=_preferred(files, "stage_b")),
                file_input("stage_c", "checkpoints", default=_preferred(files, "stage_c")),
                io.Combo.Input("cache_mode", options=["none", "stage_b", "stage_c", "all"], default="none"),
                io.String.Input("key_opt_b", default="", placeholder="empty: the file's name", optional=True),
                io.String.Input("key_opt_c", default="", placeholder="empty: the file's name", optional=True),
            ],
            outputs=[
                io.Model.Output(id="b_model", display_name="b_model"),
                io.Vae.Output(id="b_vae", display_name="b_vae"),
                io.Model.Output(id="c_model", display_name="c_model"),
                io.Vae.Output(id="c_vae", display_name="c_vae"),
                io.ClipVision.Output(id="c_clip_vision", display_name="c_clip_vision"),
                io.Clip.Output(id="clip", display_name="clip"),
                io.String.Output(id="key_b", display_name="key_b"),
                io.String.Output(id="key_c", display_name="key_c"),
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, stage_b: str, stage_c: str, **_: Any) -> Any:
        store = pack().store
        return store.stamp(Recipe("ckpt", (stage_b,))), store.stamp(Recipe("unclip_ckpt", (stage_c,)))

    @classmethod
    def execute(
        cls, stage_b: str, stage_c: str, cache_mode: str, key_opt_b: str = "", key_opt_c: str = ""
    ) -> io.NodeOutput:
        store = pack().store

        def load(recipe: Recipe, given: str, stage: str) -> tuple[tuple[Any, ...], str]:
            key = recipe.key_for(given)
            cached = cache_mode in (stage, "all")
            return (store.load(recipe, key, watch=NodeWatch()) if cached else store.load_uncached(recipe)).parts, key

        (b_model, clip, b_vae, *_), key_b = load(Recipe("ckpt", (stage_b,)), key_opt_b, "stage_b")
        (c_model, _, c_vae, vision), key_c = load(Recipe("unclip_ckpt", (stage_c,)), key_opt_c, "stage_c")
        return io.NodeOutput(b_model, b_vae, c_model, c_vae, vision, clip, key_b, key_c)


NODES = [
    LongshoreCheckpointLoader,
    LongshoreUnCLIPCheckpointLoader,
    LongshoreDiffusionModelLoader,
    LongshoreTextEncoderLoader,
    LongshoreVAELoader,
    LongshoreStableCascadeLoader,
]
