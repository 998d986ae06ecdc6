"""A stream of layers: what it is made of, and tensors of torch over the memory of one."""
from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Sequence, Union

import torch

from . import _arrays, _core
from ._errors import OutOfBudgetError
from ._model import Model
from ._orders import PathLike, paths_of

if TYPE_CHECKING:
    from ._orders import DType
    from ._runtime import Runtime

StreamSource = Union[Model, PathLike, Sequence[PathLike]]


class Source:
    """A model that layers are made of. facts: of its tensors, from its files' headers."""

    def __init__(self, runtime: "Runtime", model: StreamSource, dtype: "DType", copy: "bool | None") -> None:
        self.order: "dict[str, Any]" = {"paths": [], "copy": None, "dtype": _arrays.cast_rule(dtype)}
        if not isinstance(model, Model):
            self.order["paths"] = paths_of(model)
            if copy is not False:
                model = self._copy(runtime, model, must=copy is True)
        if isinstance(model, Model):
            self.order["copy"] = model._pending
        self._model = model
        self.facts = {name: facts for file in self._files() for name, facts in file.tensors().items()}

    def _files(self) -> "list[_core.File]":
        """Mapped for as long as the caller needs them: the stream has its own way to the bytes."""
        if isinstance(self._model, Model):
            return self._model._files
        return [file for path in paths_of(self._model) for file in _core.open_mapped(path)]

    @staticmethod
    def _copy(runtime: "Runtime", model: "PathLike | Sequence[PathLike]", must: bool) -> StreamSource:
        try:
            return runtime.load(model, hold="pinned")
        except OutOfBudgetError:
            if must:
                raise
            return model

    def shapes(self) -> "dict[str, tuple[int, ...]]":
        return {name: _arrays.torch_shape(kind, shape) for name, (kind, shape, _, _) in self.facts.items()}

    def numbers(self, names: "Sequence[str]") -> "dict[str, float]":
        """What these tensors of one element say."""
        make, wanted = _arrays.maker("torch"), set(names)
        return {
            name: make(file, file.address, facts).item()
            for file in self._files()
            for name, facts in file.tensors().items()
            if name in wanted
        }


class Place(NamedTuple):
    """Where in a layer's pieces of memory a tensor is."""

    piece: int
    begin: int
    end: int
    dtype: torch.dtype
    shape: "tuple[int, ...]"


def open_stream(
    runtime: "Runtime",
    sources: "Sequence[Source]",
    layers: "Sequence[tuple[str, list[tuple[int, str]]]]",
    budget: "int | None",
    unit: int,
    deadline: float,
) -> _core.Stream:
    """layers: names, and the number of the source and the name of each tensor."""
    wanted = {
        "sources": [source.order for source in sources],
        "layers": list(layers),
        "device_budget": budget,
        "unit": unit,
        "deadline": deadline,
        "device": runtime.device,
    }
    opened = _core.open_stream(runtime._core, wanted)
    runtime._streams.add(opened)
    return opened


def places_of(stream: _core.Stream) -> "list[list[Place]]":
    return [
        [
            Place(piece, begin, begin + size, _arrays.torch_type(kind), _arrays.torch_shape(kind, shape))
            for kind, shape, piece, begin, size in weights
        ]
        for _, weights in stream.layers()
    ]


def tensors_over(memory: "Sequence[_core.Memory]", places: "Sequence[Place]") -> "list[torch.Tensor]":
    """Weights where they are, without a copy; each keeps its piece of memory."""
    pieces = [
        torch.frombuffer(piece, dtype=torch.uint8)
        if piece.device == "host"
        else torch.as_tensor(piece, device=piece.device)
        for piece in memory
    ]
    return [pieces[at.piece][at.begin : at.end].view(at.dtype).view(at.shape) for at in places]
