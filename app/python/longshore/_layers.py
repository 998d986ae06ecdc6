"""Which weights of a module are which tensors of a model, and which of them make a layer of a stream."""
from __future__ import annotations

import difflib
from typing import Callable, Iterator, Mapping, NamedTuple, Sequence, Union

from torch import Tensor, nn

from ._absent import AbsentWeight
from ._errors import InvalidArgumentError

Names = Union[None, str, Mapping[str, str], Callable[[str], str]]
Layers = Union[None, Sequence[Union[str, Sequence[str]]]]

# Their forward reads the weights of modules inside, which it does not call.
_READS_WITHIN = (nn.MultiheadAttention, nn.TransformerEncoderLayer, nn.TransformerDecoderLayer)


class Weight(NamedTuple):
    """A place for a tensor in a module. tensor: its name in the model. aliases: all names that the module has for it."""

    module: nn.Module
    key: str
    is_parameter: bool
    name: str
    tensor: str
    original: Tensor
    aliases: "tuple[str, ...]"

    def put(self, value: "Tensor") -> None:
        places = self.module._parameters if self.is_parameter else self.module._buffers
        if type(self.module).__setattr__ is nn.Module.__setattr__:
            places[self.key] = value  # type: ignore[assignment]
        else:  # who keeps books of its own, as torch's recurrent modules do
            setattr(self.module, self.key, value)


class Unit(NamedTuple):
    """A module while whose forward runs these weights are there."""

    name: str
    module: nn.Module
    weights: "list[Weight]"
    is_whole: bool  # all weights inside, or only those that are in no module inside which runs by itself


def nearest(name: str, known: "Sequence[str]") -> str:
    close = difflib.get_close_matches(name, known, 1, 0.0)
    return f"; the nearest is {close[0]!r}" if close else ""


def _tensor_name(name: str, names: Names) -> str:
    if names is None:
        return name
    if isinstance(names, str):
        return names + name
    return names(name) if callable(names) else names.get(name, name)


def _places(module: nn.Module) -> "Iterator[tuple[str, str, nn.Module, str, bool, Tensor]]":
    """Each place once, with its name, and its module's."""
    for path, inner in module.named_modules():
        for is_parameter, places in ((True, inner._parameters), (False, inner._buffers)):
            for key, tensor in places.items():
                if tensor is not None:
                    yield (f"{path}.{key}" if path else key), path, inner, key, is_parameter, tensor


def weights_of(module: nn.Module, shapes: "Mapping[str, tuple[int, ...]]", names: Names, strict: bool) -> "list[Weight]":
    """The module's weights that the model has; InvalidArgumentError where one has what the other lacks."""
    aliases: "dict[int, list[str]]" = {}
    for reachable in (module.named_parameters(remove_duplicate=False), module.named_buffers(remove_duplicate=False)):
        for name, tensor in reachable:
            aliases.setdefault(id(tensor), []).append(name)
    found, used = [], set()
    for name, _, inner, key, is_parameter, tensor in _places(module):
        if isinstance(tensor, AbsentWeight):
            raise InvalidArgumentError(f"the module is streamed already: {name!r}")
        every = tuple(aliases[id(tensor)])
        there = [wanted for alias in every if (wanted := _tensor_name(alias, names)) in shapes]
        used.update(there)
        if not there:
            _check_absent(name, _tensor_name(name, names), key in inner._non_persistent_buffers_set, tensor, shapes, strict)
            continue
        if tuple(shapes[there[-1]]) != tuple(tensor.shape):
            raise InvalidArgumentError(
                f"{name!r} has the shape {tuple(tensor.shape)} in the module and {tuple(shapes[there[-1]])} in the model"
            )
        found.append(Weight(inner, key, is_parameter, name, there[-1], tensor, every))
    prefix = names if isinstance(names, str) else ""
    left = [name for name in shapes if name not in used and name.startswith(prefix)]
    if strict and left and (names is None or prefix):
        known = [_tensor_name(alias, names) for of_one in aliases.values() for alias in of_one]
        raise InvalidArgumentError(
            f"the model has {len(left)} tensors that the module does not have, such as {left[0]!r}"
            f"{nearest(left[0], known)} (`names` maps one to the other, strict=False lets it pass)"
        )
    if not found:
        raise InvalidArgumentError("the model has no tensor that the module has")
    return found


def _check_absent(
    name: str, tensor: str, is_computed: bool, original: Tensor, shapes: "Mapping[str, object]", strict: bool
) -> None:
    if original.is_meta:
        raise InvalidArgumentError(
            f"{name!r} is on torch's meta device, and the model has no {tensor!r} for it{nearest(tensor, list(shapes))}"
        )
    if strict and not is_computed:
        raise InvalidArgumentError(
            f"the model has no tensor {tensor!r}, which the module wants as {name!r}{nearest(tensor, list(shapes))} "
            "(strict=False leaves the module's own there)"
        )


def runs(module: nn.Module) -> bool:
    return type(module).forward is not nn.Module.forward or "forward" in module.__dict__


class _Splitter:
    def __init__(self, weights: "list[Weight]", size_of: "Callable[[Weight], int]", limit: int, chosen: "set[str]") -> None:
        self.of_module: "dict[int, list[Weight]]" = {}
        for weight in weights:
            self.of_module.setdefault(id(weight.module), []).append(weight)
        self.size_of, self.limit, self.chosen = size_of, limit, chosen
        self.done: "set[int]" = set()

    def inside(self, module: nn.Module) -> "list[Weight]":
        return [weight for inner in module.modules() for weight in self.of_module.get(id(inner), ())]

    def own(self, module: nn.Module) -> "list[Weight]":
        """Also of modules inside that never run by themselves, such as lists of parameters."""
        mine = list(self.of_module.get(id(module), ()))
        for inner in module.children():
            if not runs(inner):
                mine += self.own(inner)
        return mine

    def split(self, name: str, module: nn.Module, is_root: bool = False) -> "Iterator[Unit]":
        weights = self.inside(module)
        if not weights or id(module) in self.done:
            return
        self.done.add(id(module))
        inner = [(f"{name}.{key}" if name else key, child) for key, child in module.named_children()]
        is_small = sum(self.size_of(weight) for weight in weights) <= self.limit and not self._has_chosen(name)
        has_runners = any(runs(child) and self.inside(child) for child in module.modules() if child is not module)
        if runs(module) and (
            name in self.chosen or not has_runners or isinstance(module, _READS_WITHIN) or (is_small and not is_root)
        ):
            yield Unit(name, module, weights, True)
            return
        if runs(module) and (mine := self.own(module)):
            yield Unit(name, module, mine, False)
        for path, child in inner:
            yield from self.split(path, child)

    def _has_chosen(self, name: str) -> bool:
        return any(one != name and (not name or one.startswith(name + ".")) for one in self.chosen)


def layers_of(
    module: nn.Module, weights: "list[Weight]", size_of: "Callable[[Weight], int]", limit: int, chosen: Layers
) -> "list[list[Unit]]":
    """Units in groups that come and go together, in the order in which the module declares them.

    A module of more than `limit` bytes is split into those inside it, and so on. Neighbours join while one of them is
    small, a sixteenth of the limit, and all together are not over it. `chosen`: modules, or lists of modules, that are
    layers as they are; of the rest the rule decides.
    """
    groups = [[one] if isinstance(one, str) else list(one) for one in chosen or ()]
    known = dict(module.named_modules())
    for name in (name for group in groups for name in group):
        if name not in known or not runs(known[name]):
            raise InvalidArgumentError(f"the module has none {name!r} that runs{nearest(name, list(known))}")
    wanted = {name: number for number, group in enumerate(groups) for name in group}
    splitter = _Splitter(weights, size_of, limit, set(wanted))
    made: "list[list[Unit]]" = []
    of_group: "dict[int, list[Unit]]" = {}
    can_join = False
    for unit in splitter.split("", module, True):
        if (number := wanted.get(unit.name)) is not None and unit.is_whole:
            if number not in of_group:
                made.append(of_group.setdefault(number, []))
            of_group[number].append(unit)
            can_join = False
            continue
        if can_join and unit.is_whole and _fit_together(made[-1], unit, size_of, limit):
            made[-1].append(unit)
        else:
            made.append([unit])
        can_join = unit.is_whole
    return made


def _fit_together(group: "list[Unit]", unit: Unit, size_of: "Callable[[Weight], int]", limit: int) -> bool:
    before, more = (sum(size_of(w) for one in units for w in one.weights) for units in (group, [unit]))
    return before + more <= limit and min(before, more) <= limit // 16
