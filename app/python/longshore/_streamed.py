"""A module of torch whose weights are on the device while they are used."""
from __future__ import annotations

import contextlib
import functools
import re
import threading
from typing import TYPE_CHECKING, Any, Callable, Iterator, Sequence, TypeVar

import torch
from torch import nn

from ._absent import AbsentWeight
from ._errors import Error, InvalidArgumentError
from ._layers import Layers, Names, Unit, Weight, layers_of, nearest, runs, weights_of
from ._lora import Applied, Lora, LoraNames, Patch, apply_patches, patches_of
from ._settings import Size, bytes_of
from ._status import StreamStatus
from ._stream import Place, Source, StreamSource, open_stream, places_of, tensors_over

if TYPE_CHECKING:
    from . import _core
    from ._orders import DType
    from ._runtime import Runtime


Bring = Callable[["_Layer"], "tuple[_core.LayerUse, list[torch.Tensor]]"]
Method = TypeVar("Method", bound=Callable[..., Any])
_as_parameter = torch.Tensor._make_subclass  # what nn.Parameter does, in a third of the time


def _untraced(method: Method) -> Method:
    """What torch.compile runs as it stands: it would take calls into the extension apart."""
    made: Method = torch.compiler.disable(method)  # type: ignore[no-untyped-call]
    return made


class _Layer:
    """Weights that come and go together. The first user brings them, the last lets them go."""

    def __init__(self, bring: "Bring", name: str, weights: "list[Weight]", shared: "Sequence[_Layer]") -> None:
        self.name, self.weights = name, weights
        self.tensors = list(dict.fromkeys(weight.tensor for weight in weights))
        self.number, self._device = 0, "cpu"
        self.places: "list[Place]" = []
        self.patches: "list[Applied]" = []
        self.users = 0
        self._bring, self._shared, self._lock = bring, shared, threading.Lock()
        self._index = [self.tensors.index(weight.tensor) for weight in weights]
        self._absent: "list[AbsentWeight]" = []
        self._use: "_core.LayerUse | None" = None

    @_untraced
    def __enter__(self) -> None:
        with contextlib.ExitStack() as others:
            for layer in self._shared:
                others.enter_context(layer)
            with self._lock:
                if self.users == 0:
                    self._begin()
                self.users += 1
            others.pop_all()

    @_untraced
    def __exit__(self, *_: object) -> None:
        with self._lock:
            self.users -= 1
            if self.users == 0:
                self._end()
        for layer in self._shared:
            layer.__exit__()

    def _begin(self) -> None:
        self._use, tensors = self._bring(self)
        for weight, index in zip(self.weights, self._index):
            tensor = tensors[index]
            weight.put(_as_parameter(nn.Parameter, tensor, False) if weight.is_parameter else tensor)

    def _end(self) -> None:
        self.put_absent()  # before the stream hears of it: what nobody looks at can be used again
        use, self._use = self._use, None
        if use is not None:
            if self._device != "cpu":  # what reads these weights may only be queued
                torch.cuda.current_stream(self._device).synchronize()
            use.end()

    def expect(self, number: int, places: "list[Place]", device: str) -> None:
        """From now on it is this layer of the stream, and its tensors are there."""
        self.number, self.places, self._device = number, places, device
        self._absent = [
            AbsentWeight.of(places[index].shape, places[index].dtype, device, weight.name, self.name)
            for weight, index in zip(self.weights, self._index)
        ]
        self.put_absent()

    def put_absent(self) -> None:
        for weight, absent in zip(self.weights, self._absent):
            weight.put(absent)

    def put_original(self) -> None:
        for weight in self.weights:
            weight.put(weight.original)


def _layers_and_users(bring: "Bring", groups: "list[list[Unit]]") -> "tuple[list[_Layer], list[tuple[Unit, _Layer]]]":
    """The layers, and of each unit the one that it needs. Weights of a module that several groups have inside are layers
    too, which those need with their own, so that they stay until the last of them is through."""
    users: "dict[tuple[int, str], set[int]]" = {}
    for number, units in enumerate(groups):
        for unit in units:
            for weight in unit.weights:
                users.setdefault((id(weight.module), weight.key), set()).add(number)
    layers: "list[_Layer]" = []
    shared: "dict[frozenset[int], _Layer]" = {}
    of_units = []
    for number, units in enumerate(groups):
        by_users: "dict[frozenset[int], list[Weight]]" = {}
        for weight in (weight for unit in units for weight in unit.weights):
            by_users.setdefault(frozenset(users[id(weight.module), weight.key]), []).append(weight)
        mine = by_users.pop(frozenset({number}), [])
        name = " .. ".join(unit.name or "the module" for unit in units[:1] + units[1:][-1:])
        for of_whom, weights in by_users.items():
            if of_whom not in shared:
                shared[of_whom] = _Layer(bring, f"shared by {name} and others", weights, ())
                layers.append(shared[of_whom])
        layers.append(_Layer(bring, name, mine, [shared[of_whom] for of_whom in by_users]))
        of_units += [(unit, layers[-1]) for unit in units]
    return layers, of_units


class StreamedModule:
    """What `longshore.torch.stream` gives: the module keeps working, and its weights come as it runs.

    module: which it is. layers: the names of what comes and goes together. A context manager, which detaches.
    """

    def __init__(
        self,
        runtime: "Runtime",
        module: nn.Module,
        model: StreamSource,
        device_budget: "Size | None",
        *,
        layers: Layers,
        names: Names,
        strict: bool,
        dtype: "DType",
        copy: "bool | None",
        layer_bytes: Size,
        deadline: float,
    ) -> None:
        self.module = module
        self._runtime, self._copy, self._deadline = runtime, copy, deadline
        self._budget = bytes_of({"device_budget": device_budget}, "device_budget", None)
        self._unit = limit = bytes_of({"layer_bytes": layer_bytes}, "layer_bytes", 64 << 20)
        if self._budget is not None:
            limit = min(limit, self._budget // 4)
        self._source = Source(runtime, model, dtype, copy)
        self._loras: "list[Lora]" = []
        facts = self._source.facts
        weights = weights_of(module, self._source.shapes(), names, strict)
        groups = layers_of(module, weights, lambda weight: facts[weight.tensor][3], limit, layers)
        self._layers, of_units = _layers_and_users(self._bring, groups)
        self._local = threading.local()
        self._first: "_Layer | None" = None
        self._forwards: "list[tuple[nn.Module, Any, Any]]" = []
        self._open([])
        self._attach(of_units)

    # What runs

    def _attach(self, of_units: "list[tuple[Unit, _Layer]]") -> None:
        for unit, layer in of_units:
            self._wrap(unit.module, layer)
        if runs(self.module) and all(wrapped is not self.module for wrapped, _, _ in self._forwards):
            self._wrap(self.module, None)

    def _wrap(self, module: nn.Module, layer: "_Layer | None") -> None:
        inner, is_root = module.forward, module is self.module

        @functools.wraps(inner)
        def forward(*args: Any, **kwargs: Any) -> Any:
            if getattr(self._local, "runs", False):
                with layer or contextlib.nullcontext():
                    return inner(*args, **kwargs)
            return self._run(is_root, layer, inner, args, kwargs)

        self._forwards.append((module, module.__dict__.get("forward"), forward))
        module.__dict__["forward"] = forward

    def _run(self, is_root: bool, layer: "_Layer | None", inner: Any, args: Any, kwargs: Any) -> Any:
        """A forward that is in no other."""
        self._local.runs = True
        try:
            if is_root or self._first in (None, layer):
                self.begin_pass()
                self._first = layer
            versions = _versions(args, kwargs)
            try:
                with layer or contextlib.nullcontext():
                    return inner(*args, **kwargs)
            except Exception as reason:
                bytes_wanted = _bytes_wanted(reason)
                if bytes_wanted is None or versions != _versions(args, kwargs) or not self._can_free(bytes_wanted):
                    raise
            # Out here, so that what the failure held is gone.
            with layer or contextlib.nullcontext():
                return inner(*args, **kwargs)
        finally:
            self._local.runs = False

    def _bring(self, layer: _Layer) -> "tuple[_core.LayerUse, list[torch.Tensor]]":
        use = self._stream.acquire(layer.number)
        tensors = tensors_over(self._stream.memory(use), layer.places)
        if layer.patches:
            apply_patches(tensors, layer.patches)
        return use, tensors

    @_untraced
    def _can_free(self, bytes_wanted: int) -> bool:
        """Whether the device got memory back. What the largest layers need stays."""
        status = self._stream.status()
        largest = max(sum(at.end - at.begin for at in layer.places) for layer in self._layers)
        bytes_wanted = min(bytes_wanted or status["budget"] // 4, status["device"] - 2 * largest)
        return bytes_wanted > 0 and self.make_room(bytes_wanted) > 0

    # What people call

    @property
    def layers(self) -> "list[str]":
        """By the modules that they are made of: the first and the last."""
        return [layer.name for layer in self._layers]

    @property
    def loras(self) -> "list[Lora]":
        """In the order in which they are applied."""
        return list(self._loras)

    def status(self) -> StreamStatus:
        """How much is on the device, how much was moved, and what was waited for."""
        return StreamStatus(**self._stream.status())

    def resize(self, device_budget: Size) -> int:
        """Another budget from now on; the bytes that the device got back. What is in use stays until it is not."""
        return self._resized(self._stream.resize(bytes_of({"device_budget": device_budget}, "device_budget", 0)))

    def make_room(self, size: Size) -> int:
        """Gives device memory back for others, and shrinks the budget by it; the bytes that the device got back."""
        return self._resized(self._stream.make_room(bytes_of({"size": size}, "size", 0)))

    @_untraced
    def begin_pass(self) -> None:
        """The layers are used once more from the first. The module's forward says so by itself; code that calls modules
        inside it may."""
        self._stream.begin_pass()

    @contextlib.contextmanager
    def use(self, *names: str) -> "Iterator[None]":
        """The weights of these modules are there while the block runs, for code that is in no forward."""
        with contextlib.ExitStack() as stack:
            for name in names:
                inside = [
                    layer
                    for layer in self._layers
                    if any(not name or f"{weight.name}.".startswith(f"{name}.") for weight in layer.weights)
                ]
                if not inside:
                    every = [path for path, _ in self.module.named_modules()]
                    raise InvalidArgumentError(f"nothing named {name!r} is streamed{nearest(name, every)}")
                for layer in inside:
                    stack.enter_context(layer)
            yield

    def add_lora(self, model: StreamSource, strength: float = 1.0, *, names: LoraNames = None) -> Lora:
        """A LoRA, whose tensors come with the layers that they patch and are applied as these come.

        A patched weight is `weight + strength * alpha / rank * (up @ down)`, in F32 and then in the weight's type, in
        memory of torch's own while its layer runs; with several, one is added after the other. The base stays as it is.
        names: from the LoRA's modules to the module's, a mapping or a function, where they are named otherwise.

        The stream begins anew, so layers that are on the device come again. Not while the module runs.
        """
        source = Source(self._runtime, model, None, self._copy)
        weights = [weight for layer in self._layers for weight in layer.weights]
        lora = Lora(self, source, patches_of(source, weights, names), strength)
        self._reopen([*self._loras, lora])
        return lora

    def detach(self) -> None:
        """The module is as it was, with the weights that it had before. Not while it runs. Safe to call again."""
        self._refuse_while_it_runs()
        for module, before, ours in self._forwards:
            if module.__dict__.get("forward") is not ours:  # someone is on top of it
                raise InvalidArgumentError("the forward of a streamed module was replaced; put it back first")
        for module, before, _ in reversed(self._forwards):
            if before is None:
                del module.__dict__["forward"]
            else:
                module.__dict__["forward"] = before
        if self._forwards:
            for layer in self._layers:
                layer.put_original()
        self._forwards = []
        self._stream.close()

    def __enter__(self) -> "StreamedModule":
        return self

    def __exit__(self, *_: object) -> None:
        self.detach()

    # The stream

    def _resized(self, answer: "tuple[int, int]") -> int:
        self._budget, freed = answer
        return freed

    def _refuse_while_it_runs(self) -> None:
        if any(layer.users for layer in self._layers):
            raise InvalidArgumentError("not while the streamed module runs")

    def _remove_lora(self, lora: Lora) -> None:
        if lora in self._loras:
            self._reopen([other for other in self._loras if other is not lora])

    def _reopen(self, loras: "list[Lora]") -> None:
        self._refuse_while_it_runs()
        before = self._stream
        self._open(loras)
        before.close()

    def _open(self, loras: "list[Lora]") -> None:
        """A stream of the layers' weights, and with them of what patches them."""
        of_layers = [_applied(layer, loras) for layer in self._layers]
        described = [
            (layer.name, [(0, name) for name in layer.tensors] + extra)
            for layer, (_, extra) in zip(self._layers, of_layers)
        ]
        sources = [self._source, *(lora._source for lora in loras)]
        self._stream = open_stream(self._runtime, sources, described, self._budget, self._unit, self._deadline)
        self._loras, self._first = loras, None
        device = "cpu" if self._stream.device == "host" else self._stream.device
        every = places_of(self._stream)
        for number, (layer, (applied, _)) in enumerate(zip(self._layers, of_layers)):
            layer.patches = applied
            layer.expect(number, every[number], device)


def _applied(layer: _Layer, loras: "Sequence[Lora]") -> "tuple[list[Applied], list[tuple[int, str]]]":
    """The patches of a layer, and the tensors that it needs for them: behind its own."""
    index = {name: number for number, name in enumerate(layer.tensors)}
    applied: "list[Applied]" = []
    extra: "dict[tuple[int, str], int]" = {}
    for source, lora in enumerate(loras, 1):
        for patch in lora._patches:
            if patch.tensor in index:
                up, down = (
                    extra.setdefault((source, name), len(layer.tensors) + len(extra)) for name in (patch.up, patch.down)
                )
                applied.append(Applied(lora, index[patch.tensor], up, down, patch.scale))
    return applied, list(extra)


def _tensors_in(values: Any) -> "Iterator[torch.Tensor]":
    for value in values:
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from _tensors_in(value)
        elif isinstance(value, dict):
            yield from _tensors_in(value.values())


def _versions(args: Any, kwargs: Any) -> "list[int]":
    """Whether what was passed is changed in place shows in these; torch keeps none of inference tensors."""
    return [one._version for one in _tensors_in((args, kwargs)) if not one.is_inference()]


def _bytes_wanted(reason: Exception) -> "int | None":
    """Of an allocation of torch's that failed; 0 where it does not say how much, None for any other failure."""
    text = str(reason)
    is_ours = isinstance(reason, Error)
    if is_ours or not (isinstance(reason, torch.OutOfMemoryError) or "DefaultCPUAllocator" in text):
        return None
    found = re.search(r"tried to allocate ([\d.]+) ?(bytes|[KMG]iB)", text, re.IGNORECASE)
    return bytes_of({"size": found[1] + found[2].replace("bytes", "")}, "size", 0) if found else 0
