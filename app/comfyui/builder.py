"""Models out of tensors, by ComfyUI's own functions, without a copy of the weights where that can be.

The types of the weights are a policy. "auto": as ComfyUI would have them on this device; what is of another type in
the file is cast once, while it is read, and a step is as fast as ever. "alias": the diffusion model stays as it is in
the file and each step casts it, which is slower and takes the least memory.
"""
from __future__ import annotations

import copy
import logging
import weakref
from typing import Any

import comfy.memory_management
import comfy.model_detection
import comfy.model_management as mm
import comfy.sd
import comfy.utils
import folder_paths
import nodes
import torch
from safetensors import safe_open

from . import pages
from .alias import AliasWeights
from .recipe import Recipe

log = logging.getLogger("longshore")


class Built:
    """A model as ComfyUI's objects; nobody but `clones` hands them out."""

    def __init__(self, parts: tuple[Any, ...], stock: bool = False) -> None:
        self._parts = parts
        self._clones: weakref.WeakSet[Any] = weakref.WeakSet()
        self._stock = stock
        self.leases: dict[str, Any] = {}  # the runtime's models that it is built over, by their keys
        self.dtype: Any = None
        self.last_use = 0

    def clones(self) -> tuple[Any, ...]:
        """Objects that share the weights, each with patches of its own."""
        made = tuple(_clone(part) for part in self._parts)
        self._clones.update(_patcher(part) for part in made if part is not None)
        return made

    def is_idle(self) -> bool:
        """Nobody has a clone, and letting go of it gives memory back."""
        return not self._stock and not self._clones

    @property
    def bytes(self) -> int:
        return sum(_patcher(part).model_size() for part in self._parts if part is not None)


class Builder:
    """hold: the runtime's memory, which no change of the file reaches, or with "alias" the page cache's, which is less."""

    def __init__(self, weights: str = "auto") -> None:
        self.weights = weights
        self.hold = "mapped" if weights == "alias" else "owned"

    def build(self, recipe: Recipe, model: Any) -> Built:
        """model: names to tensors, with `metadata`. Raises RuntimeError where ComfyUI does not know such a model."""
        # Tensors of inference mode, which workflows run in, and others cannot trade places.
        with torch.inference_mode(False), torch.no_grad(), AliasWeights() as counted:
            try:
                parts = _BUILD[recipe.kind](self, recipe, model)
            except (LookupError, TypeError, AttributeError) as error:  # how ComfyUI says that tensors are missing
                what = f"ComfyUI can make no {recipe.kind} of {', '.join(recipe.files)}, tensors may be missing: {error}"
                raise RuntimeError(what) from error
        if self.hold == "mapped":
            _drop_copied(model, counted.copied)
        log.debug("%s: %d bytes shared, %d copied", recipe.files, counted.aliased_bytes, counted.copied_bytes)
        return Built(parts)

    def build_stock(self, recipe: Recipe) -> Built:
        with torch.inference_mode():
            return Built(_STOCK[recipe.kind](recipe), stock=True)

    def dtype(self, recipe: Recipe, paths: list[str]) -> "dict[str, torch.dtype] | None":
        """What the runtime shall cast tensors to while it reads them, by what their names begin with. What is mapped
        is not cast: of an alias, ComfyUI converts the VAE."""
        if recipe.kind == "text_encoder" or self.hold == "mapped":
            return None
        if recipe.kind == "vae":
            return {"": _vae_dtype()}
        try:
            return self._checkpoint_dtype(recipe, *_header(paths[0])) or None
        except Exception as error:  # a damaged file, which the runtime reports, or a model told apart by values
            log.debug("%s: ComfyUI converts, not the reader: %s", recipe.files, error)
            return None

    def release_outputs(self) -> int:
        """Asks ComfyUI for the memory of node outputs that the running workflow does not use."""
        return comfy.memory_management.extra_ram_release(1 << 62)

    def _checkpoint_dtype(
        self, recipe: Recipe, tensors: dict[str, Any], metadata: Any
    ) -> dict[str, torch.dtype]:
        prefix = comfy.model_detection.unet_prefix_from_state_dict(tensors)
        if recipe.kind == "diffusion_model" and not any(name.startswith(prefix) for name in tensors):
            prefix = ""
        config = comfy.model_detection.model_config_from_unet(tensors, prefix, metadata=metadata)
        if config is None:
            return {}
        rules = {}
        if recipe.kind != "diffusion_model":
            rules.update(dict.fromkeys(config.vae_key_prefix, _vae_dtype()))
        if config.quant_config is None and recipe.weight_dtype == "default":
            dtype = mm.unet_dtype(
                model_params=comfy.utils.calculate_parameters(tensors, prefix),
                supported_dtypes=list(config.supported_inference_dtypes),
                weight_dtype=comfy.utils.weight_dtype(tensors, prefix),
            )
            if dtype in (torch.float32, torch.float16, torch.bfloat16):
                rules[prefix] = dtype
        return rules

    def _unet_options(self, tensors: dict[str, Any], recipe: Recipe) -> dict[str, Any]:
        if recipe.weight_dtype != "default":
            fast = {"fp8_optimizations": True} if recipe.weight_dtype.endswith("_fast") else {}
            return {"dtype": getattr(torch, _FP8[recipe.weight_dtype]), **fast}
        if self.weights == "alias":
            prefix = comfy.model_detection.unet_prefix_from_state_dict(tensors)
            in_file = comfy.utils.weight_dtype(tensors, prefix)
            if in_file in (torch.float16, torch.bfloat16):
                return {"dtype": in_file}
        return {}

    def _checkpoint(self, recipe: Recipe, model: Any) -> tuple[Any, ...]:
        tensors, embeddings = model.tensors(), _embeddings()
        options = self._unet_options(tensors, recipe)
        vision = recipe.kind == "unclip_ckpt"
        parts = comfy.sd.load_state_dict_guess_config(
            tensors,
            output_clipvision=vision,
            embedding_directory=embeddings,
            model_options=options,
            metadata=model.metadata,
        )
        if parts is None or parts[0] is None:
            raise RuntimeError(f"ComfyUI does not know what kind of model {recipe.files[0]} is")
        path = _path(recipe)
        arguments = (path, embeddings, options, {})
        parts[0].cached_patcher_init = (
            comfy.sd.load_checkpoint_guess_config,
            (path, False, False, False, embeddings, True, options, {}),
            0,
        )
        for part, again in ((1, comfy.sd.load_checkpoint_clip_patcher), (2, comfy.sd.load_checkpoint_vae_patcher)):
            if getattr(parts[part], "patcher", None) is not None:
                parts[part].patcher.cached_patcher_init = (again, arguments)
        return parts if vision else parts[:3]

    def _diffusion_model(self, recipe: Recipe, model: Any) -> tuple[Any, ...]:
        tensors = model.tensors()
        options = self._unet_options(tensors, recipe)
        made = comfy.sd.load_diffusion_model_state_dict(tensors, model_options=options, metadata=model.metadata)
        if made is None:
            raise RuntimeError(f"ComfyUI does not know what kind of diffusion model {recipe.files[0]} is")
        made.cached_patcher_init = (comfy.sd.load_diffusion_model, (_path(recipe), options))
        return (made,)

    def _vae(self, recipe: Recipe, model: Any) -> tuple[Any, ...]:
        vae = comfy.sd.VAE(sd=model.tensors(), metadata=model.metadata)
        vae.throw_exception_if_invalid()
        vae.patcher.cached_patcher_init = (comfy.sd.load_vae_patcher, (_path(recipe), None, None))
        return (vae,)

    def _text_encoder(self, recipe: Recipe, model: Any) -> tuple[Any, ...]:
        clip_type = getattr(comfy.sd.CLIPType, recipe.type.upper(), comfy.sd.CLIPType.STABLE_DIFFUSION)
        options: dict[str, Any] = {}
        if recipe.device == "cpu":
            options["load_device"] = options["offload_device"] = torch.device("cpu")
        parts = [_old_quants(part) for part in model.parts]
        arguments = (_embeddings(), clip_type, options)
        clip = comfy.sd.load_text_encoder_state_dicts(parts, *arguments)
        clip.patcher.cached_patcher_init = (comfy.sd.load_clip_model_patcher, (_paths(recipe), *arguments))
        return (clip,)


_BUILD = {
    "ckpt": Builder._checkpoint,
    "unclip_ckpt": Builder._checkpoint,
    "diffusion_model": Builder._diffusion_model,
    "text_encoder": Builder._text_encoder,
    "vae": Builder._vae,
}
_FP8 = {
    "fp8_e4m3fn": "float8_e4m3fn",
    "fp8_e4m3fn_fast": "float8_e4m3fn",
    "fp8_e5m2": "float8_e5m2",
}


def _stock_text_encoder(recipe: Recipe) -> tuple[Any, ...]:
    count = len(recipe.files)
    names = ["CLIPLoader", "DualCLIPLoader", "TripleCLIPLoader", "QuadrupleCLIPLoader"]
    node = nodes.NODE_CLASS_MAPPINGS.get(names[count - 1])
    if node is None:
        raise RuntimeError(f"this ComfyUI loads no {count} text encoders at once")
    if count == 1:
        return node().load_clip(recipe.files[0], type=recipe.type, device=recipe.device)
    if count == 2:
        return node().load_clip(*recipe.files, type=recipe.type, device=recipe.device)
    return node.execute(*recipe.files).result


_STOCK = {
    "ckpt": lambda recipe: nodes.CheckpointLoaderSimple().load_checkpoint(recipe.files[0]),
    "unclip_ckpt": lambda recipe: nodes.unCLIPCheckpointLoader().load_checkpoint(recipe.files[0]),
    "diffusion_model": lambda recipe: nodes.UNETLoader().load_unet(recipe.files[0], recipe.weight_dtype),
    "text_encoder": _stock_text_encoder,
    "vae": lambda recipe: nodes.VAELoader().load_vae(recipe.files[0]),
}


def _drop_copied(model: Any, copied: list[torch.Tensor]) -> None:
    """What ComfyUI has converted needs no page of the file's any more."""
    of_the_file = {tensor.data_ptr() for part in model.parts for tensor in part.values()}
    for tensor in copied:
        if tensor.data_ptr() in of_the_file:
            pages.drop(tensor)


def load_to_device(parts: list[Any]) -> None:
    """Moves a preloaded model to the device. Empties the list: a model ends in the thread that this is called in."""
    mm.load_models_gpu([_patcher(part) for part in parts if part is not None])
    parts.clear()


def plain_paths(recipe: Recipe) -> "list[str] | None":
    """The paths of a recipe's files, or None where ComfyUI's own loader has to read them: another format, or a VAE that
    ComfyUI composes of several files. Raises FileNotFoundError."""
    if recipe.kind == "vae" and recipe.files[0] in _composed_vaes():
        return None
    paths = _paths(recipe)
    return paths if all(path.endswith((".safetensors", ".sft")) for path in paths) else None


def _composed_vaes() -> set[str]:
    return set(nodes.VAELoader.vae_list(nodes.VAELoader)) - set(folder_paths.get_filename_list("vae"))


def _paths(recipe: Recipe) -> list[str]:
    return [folder_paths.get_full_path_or_raise(recipe.folder, name) for name in recipe.files]


def _path(recipe: Recipe) -> str:
    return _paths(recipe)[0]


def _embeddings() -> list[str]:
    return folder_paths.get_folder_paths("embeddings")


_TYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
}


def _header(path: str) -> tuple[dict[str, torch.Tensor], "dict[str, str] | None"]:
    """A file's tensors without their memory, which is all that ComfyUI's detection looks at, and its metadata."""
    with safe_open(path, "pt") as file:
        slices = {name: file.get_slice(name) for name in file.keys()}
        tensors = {
            name: torch.empty(part.get_shape(), dtype=_TYPES.get(part.get_dtype(), torch.uint8), device="meta")
            for name, part in slices.items()
        }
        return tensors, file.metadata()


def _vae_dtype() -> torch.dtype:
    return mm.vae_dtype(mm.vae_device(), [torch.bfloat16, torch.float32])


def _old_quants(part: Any) -> dict[str, Any]:
    return comfy.utils.convert_old_quants(dict(part), model_prefix="", metadata=part.metadata)[0]


def _patcher(part: Any) -> Any:
    return getattr(part, "patcher", part)


def _clone(part: Any) -> Any:
    """CLIP and ModelPatcher know how to clone themselves; a VAE and a CLIP vision model do not."""
    if part is None or hasattr(part, "clone"):
        return part and part.clone()
    made = copy.copy(part)
    made.patcher = part.patcher.clone()
    return made
