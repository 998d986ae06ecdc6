"""LoRAs of a streamed module: what they patch, and the patched weights."""
from __future__ import annotations

from typing import TYPE_CHECKING, Callable, Iterator, Mapping, NamedTuple, Sequence, Union

import torch

from ._errors import InvalidArgumentError, UnsupportedError
from ._layers import Weight, nearest

if TYPE_CHECKING:
    from ._stream import Source
    from ._streamed import StreamedModule

LoraNames = Union[None, Mapping[str, str], Callable[[str], str]]

_ENDS = (
    (".lora_up.weight", ".lora_down.weight"),
    (".lora_B.weight", ".lora_A.weight"),
    (".lora_B.default.weight", ".lora_A.default.weight"),
    (".lora.up.weight", ".lora.down.weight"),
)
# What programs that train LoRAs put before a module's name.
_PREFIXES = (
    "base_model.model.",
    "diffusion_model.",
    "transformer.",
    "unet.",
    "text_encoder.",
    "lora_unet_",
    "lora_transformer_",
    "lora_te1_",
    "lora_te2_",
    "lora_te_",
)


class Patch(NamedTuple):
    """up, down: names in the LoRA's file. tensor: what they patch, by its name in the base model. scale: alpha / rank."""

    tensor: str
    up: str
    down: str
    scale: float


class Lora:
    """What `StreamedModule.add_lora` gives. strength: may change at any time, and counts for layers that come then."""

    def __init__(self, streamed: "StreamedModule", source: "Source", patches: "list[Patch]", strength: float) -> None:
        self._streamed, self._source, self._patches = streamed, source, patches
        self.strength = float(strength)

    def remove(self) -> None:
        """The module is as if it had never been there. Safe to call again."""
        self._streamed._remove_lora(self)


class Applied(NamedTuple):
    """A patch in a layer. weight: its place among the layer's tensors; up, down: of its own."""

    lora: Lora
    weight: int
    up: int
    down: int
    scale: float


def patched(weight: torch.Tensor, patches: "Sequence[tuple[torch.Tensor, torch.Tensor, float]]") -> torch.Tensor:
    """`weight + factor * (up @ down)` for each (up, down, factor) in turn, in F32, and at the end the weight's type."""
    sum_ = weight.float()
    for up, down, factor in patches:
        sum_ = sum_ + factor * (up.float().flatten(1) @ down.float().flatten(1)).view(weight.shape)
    return sum_.to(weight.dtype)


def apply_patches(tensors: "list[torch.Tensor]", applied: "Sequence[Applied]") -> None:
    """Puts patched weights into the list in place of those of the base, which stay as they are."""
    of_weight: "dict[int, list[tuple[torch.Tensor, torch.Tensor, float]]]" = {}
    for one in applied:
        if one.lora.strength != 0:
            what = (tensors[one.up], tensors[one.down], one.lora.strength * one.scale)
            of_weight.setdefault(one.weight, []).append(what)
    with torch.no_grad():
        for index, patches in of_weight.items():
            tensors[index] = patched(tensors[index], patches)


def patches_of(source: "Source", weights: "Sequence[Weight]", names: LoraNames) -> "list[Patch]":
    """What a file patches of these weights. InvalidArgumentError, UnsupportedError."""
    shapes, left = source.shapes(), set(source.facts)
    targets = _targets(weights)
    patches = []
    alphas = source.numbers([name for name in shapes if name.endswith(".alpha")])
    for stem, up, down in _pairs(shapes):
        weight = _target(stem, targets, names)
        rank, alpha = shapes[down][0], f"{stem}.alpha"
        scale = alphas[alpha] / rank if alpha in alphas else 1.0
        _check(stem, shapes[up], shapes[down], weight)
        patches.append(Patch(weight.tensor, up, down, scale))
        left -= {up, down, alpha}
    if left:
        raise UnsupportedError(f"a LoRA is pairs of matrices, up and down, with an alpha; there is also {min(left)!r}")
    return patches


def _pairs(shapes: "Mapping[str, tuple[int, ...]]") -> "Iterator[tuple[str, str, str]]":
    for name in shapes:
        for up, down in _ENDS:
            if name.endswith(up) and (stem := name[: -len(up)]) + down in shapes:
                yield stem, name, stem + down


def _targets(weights: "Sequence[Weight]") -> "dict[str, Weight]":
    """By the names of their modules, in the module and in the model, with dots or with underscores."""
    targets: "dict[str, Weight]" = {}
    for weight in weights:
        for name in (*weight.aliases, weight.tensor):
            stem, _, last = name.rpartition(".")
            if last == "weight":
                targets[stem] = targets[stem.replace(".", "_")] = weight
    return targets


def _target(stem: str, targets: "Mapping[str, Weight]", names: LoraNames) -> Weight:
    if names is not None:
        stem = names(stem) if callable(names) else names.get(stem, stem)
    for prefix in ("", *_PREFIXES):
        if stem.startswith(prefix) and (found := targets.get(stem[len(prefix) :])) is not None:
            return found
    raise InvalidArgumentError(
        f"the LoRA patches {stem!r}, of which the module streams no weight{nearest(stem, list(targets))} "
        "(`names` maps one to the other)"
    )


def _check(stem: str, up: "tuple[int, ...]", down: "tuple[int, ...]", weight: Weight) -> None:
    shape = weight.original.shape
    inner = torch.Size(down[1:]).numel() * torch.Size(up[2:]).numel()
    if len(up) < 2 or up[1] != down[0] or up[0] != shape[0] or up[0] * inner != shape.numel():
        raise InvalidArgumentError(
            f"the LoRA's {stem!r} with the shapes {up} and {down} does not patch {weight.name!r} of {tuple(shape)}"
        )
