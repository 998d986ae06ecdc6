"""Loaders that prefer what was preloaded, menus of what is preloaded, and what is known about it."""
from __future__ import annotations

from typing import Any

import nodes
from comfy_api.latest import io

from .nodes_data import after_input, describe_cache
from .nodes_loaders import CHECKPOINT_OUTPUTS, device_input, file_input, text_encoder_inputs
from .pack import pack
from .recipe import WEIGHT_DTYPES, Mode, Recipe, text_encoder
from .store import Loaded
from .watch import NodeWatch

CATEGORY = "Longshore/preloaded"
_PARTS = {
    "ckpt": CHECKPOINT_OUTPUTS,
    "text_encoder": (io.Clip.Output,),
    "diffusion_model": (io.Model.Output,),
    "vae": (io.Vae.Output,),
}

_NAMES = {"ckpt": "Checkpoint", "text_encoder": "Text Encoder", "diffusion_model": "Diffusion Model", "vae": "VAE"}


def _schema(node_id: str, name: str, about: str, **more: Any) -> io.Schema:
    return io.Schema(node_id=node_id, display_name=f"{name} (Longshore)", category=CATEGORY, description=about, **more)


class _CachedLoader(io.ComfyNode):
    """A loader whose subclass says which recipe its inputs ask for."""

    @classmethod
    def cached_schema(cls, kind: str, name: str, inputs: list[io.Input]) -> io.Schema:
        use_cache = io.Boolean.Input(
            "use_cache", default=True, label_on="use the cache", label_off="ComfyUI's own loader", optional=True
        )
        key = io.String.Input("cache_key", default="", placeholder="empty: the file's name", optional=True)
        return _schema(
            cls.__name__,
            name,
            "Takes the model from the cache; if it is not there yet, loads it and keeps it.",
            inputs=[*inputs, use_cache, key],
            outputs=[
                *(output() for output in _PARTS[kind]),
                io.String.Output(id="cache_info", display_name="cache_info"),
                io.Boolean.Output(id="from_cache", display_name="from_cache"),
            ],
        )

    @classmethod
    def recipe(cls, **inputs: Any) -> Recipe:
        raise NotImplementedError

    @classmethod
    def fingerprint_inputs(cls, use_cache: bool = True, cache_key: str = "", **inputs: Any) -> Any:
        if None in inputs.values():  # comes from another node, whose own change counts
            return None
        recipe = cls.recipe(**inputs)
        return use_cache, *pack().store.weak_hash(recipe, recipe.key_for(cache_key), Mode.AUTO)

    @classmethod
    def execute(cls, use_cache: bool = True, cache_key: str = "", **inputs: Any) -> io.NodeOutput:
        recipe, store = cls.recipe(**inputs), pack().store
        key = recipe.key_for(cache_key)
        loaded = store.load(recipe, key, watch=NodeWatch()) if use_cache else store.load_uncached(recipe)
        parts = loaded.parts[: len(_PARTS["ckpt"])]
        return io.NodeOutput(*parts, _info(loaded, recipe), loaded.from_cache)


def _info(loaded: Loaded, recipe: Recipe) -> str:
    files = ", ".join(recipe.files)
    if not loaded.key:
        return f"Loaded by ComfyUI's own loader, since use_cache is off, and not kept: {files}"
    if loaded.from_cache:
        return f"From the cache: {loaded.key}"
    if loaded.how == "stock":
        return f"Loaded by ComfyUI's own loader, since it is no safetensors file, and kept as {loaded.key}"
    return f"Loaded, and kept as {loaded.key}"


class LongshoreCachedCheckpointLoader(_CachedLoader):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return cls.cached_schema("ckpt", "Cached Checkpoint Loader", [file_input("ckpt_name", "checkpoints")])

    @classmethod
    def recipe(cls, ckpt_name: str) -> Recipe:
        return Recipe("ckpt", (ckpt_name,))


class LongshoreCachedTextEncoderLoader(_CachedLoader):
    @classmethod
    def define_schema(cls) -> io.Schema:
        inputs = [*text_encoder_inputs("clip_name"), device_input()]
        return cls.cached_schema("text_encoder", "Cached Text Encoder Loader", inputs)

    @classmethod
    def recipe(cls, type: str, device: str = "default", **names: str) -> Recipe:
        return text_encoder([names[name] for name in sorted(names)], type, device)


class LongshoreCachedDiffusionModelLoader(_CachedLoader):
    @classmethod
    def define_schema(cls) -> io.Schema:
        dtype = io.Combo.Input("weight_dtype", options=WEIGHT_DTYPES, default="default")
        inputs = [file_input("model_name", "diffusion_models"), dtype]
        return cls.cached_schema("diffusion_model", "Cached Diffusion Model Loader", inputs)

    @classmethod
    def recipe(cls, model_name: str, weight_dtype: str) -> Recipe:
        return Recipe("diffusion_model", (model_name,), weight_dtype=weight_dtype)


class LongshoreCachedVAELoader(_CachedLoader):
    @classmethod
    def define_schema(cls) -> io.Schema:
        files = nodes.VAELoader.vae_list(nodes.VAELoader)
        return cls.cached_schema("vae", "Cached VAE Loader", [io.Combo.Input("vae_name", options=files)])

    @classmethod
    def recipe(cls, vae_name: str) -> Recipe:
        return Recipe("vae", (vae_name,))


class _Selector(io.ComfyNode):
    """A menu of the keys of a kind that are in the cache. The browser asks for them anew; see web/longshore.js."""

    KIND = ""
    INFO = "model_name"

    @classmethod
    def define_schema(cls) -> io.Schema:
        return _schema(
            cls.__name__,
            f"Preloaded {_NAMES[cls.KIND]}",
            "Chooses one of the models that are in the cache. The menu's refresh button looks again.",
            inputs=[io.Combo.Input("key", options=pack().preloader.ready(cls.KIND))],
            outputs=[
                *(output() for output in _PARTS[cls.KIND]),
                io.String.Output(id=cls.INFO, display_name=cls.INFO),
            ],
        )

    @classmethod
    def validate_inputs(cls, key: str) -> "bool | str":
        """The menu has changed since the server made the schema; what is not there is found out when it is run, since
        a model that is still preloading is worth waiting for."""
        return True if key else "choose a model; the menu lists what is in the cache"

    @classmethod
    def fingerprint_inputs(cls, key: str) -> Any:
        recipe, mode = _chosen(cls.KIND, key)
        return pack().store.weak_hash(recipe, key, mode)

    @classmethod
    def execute(cls, key: str) -> io.NodeOutput:
        recipe, mode = _chosen(cls.KIND, key)
        loaded = pack().store.load(recipe, key, mode, NodeWatch())
        info = key if cls.KIND == "ckpt" else _describe(recipe)
        return io.NodeOutput(*loaded.parts[: len(_PARTS["ckpt"])], info)


def _chosen(kind: str, key: str) -> tuple[Recipe, Mode]:
    """What a selector's key stands for. A key of the configuration may be preloading still, or evicted again, and is
    loaded; any other has to be there."""
    for progress in pack().preloader.models:
        if progress.item.key == key and progress.item.recipe.kind == kind:
            return progress.item.recipe, Mode.AUTO
    return pack().store.entries().get(key, Recipe(kind, (key,))), Mode.READ_ONLY


def _describe(recipe: Recipe) -> str:
    facts = {"type": recipe.type, "device": recipe.type and recipe.device}
    if recipe.kind == "diffusion_model":
        facts["weight_dtype"] = recipe.weight_dtype
    return ", ".join([" + ".join(recipe.files), *(f"{name}: {value}" for name, value in facts.items() if value)])


class LongshorePreloadedCheckpoint(_Selector):
    KIND = "ckpt"


class LongshorePreloadedTextEncoder(_Selector):
    KIND, INFO = "text_encoder", "encoder_info"


class LongshorePreloadedDiffusionModel(_Selector):
    KIND, INFO = "diffusion_model", "model_info"


class LongshorePreloadedVAE(_Selector):
    KIND, INFO = "vae", "vae_info"


class LongshoreCacheInfo(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return _schema(
            cls.__name__,
            "Cached Model Info",
            "What the cache holds, and how far the preloading is.",
            is_output_node=True,
            inputs=[after_input()],
            outputs=[io.String.Output(id="cache_info", display_name="cache_info")],
        )

    @classmethod
    def fingerprint_inputs(cls, after: Any = None) -> Any:
        return float("nan")

    @classmethod
    def execute(cls, after: Any = None) -> io.NodeOutput:
        preloads = [
            f"{progress.item.key}: {progress.state}{progress.error and f': {progress.error}'}"
            for progress in pack().preloader.models
        ]
        text = "\n".join([*(["Preloading:", *preloads, "", "Cache:"] if preloads else []), describe_cache()])
        return io.NodeOutput(text, ui={"text": [text]})


class LongshoreCacheStatus(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return _schema(
            cls.__name__,
            "Check Cache Status",
            "Whether a checkpoint, or any model by its key, is in the cache.",
            inputs=[
                file_input("ckpt_name", "checkpoints"),
                io.String.Input("cache_key", default="", placeholder="empty: the checkpoint's name", optional=True),
            ],
            outputs=[
                io.Boolean.Output(id="is_cached", display_name="is_cached"),
                io.String.Output(id="status_info", display_name="status_info"),
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, ckpt_name: str, cache_key: str = "") -> Any:
        key = cache_key.strip() or ckpt_name
        return key, key in pack().store.entries()

    @classmethod
    def execute(cls, ckpt_name: str, cache_key: str = "") -> io.NodeOutput:
        key = cache_key.strip() or ckpt_name
        recipe = pack().store.entries().get(key)
        if recipe is None:
            return io.NodeOutput(False, f"Not in the cache: {key}")
        return io.NodeOutput(True, f"In the cache: {key} ({recipe.kind}; {_describe(recipe)})")


NODES = [
    LongshoreCachedCheckpointLoader,
    LongshoreCachedTextEncoderLoader,
    LongshoreCachedDiffusionModelLoader,
    LongshoreCachedVAELoader,
    LongshorePreloadedCheckpoint,
    LongshorePreloadedTextEncoder,
    LongshorePreloadedDiffusionModel,
    LongshorePreloadedVAE,
    LongshoreCacheInfo,
    LongshoreCacheStatus,
]
