"""Building a model whose weights are the tensors it is loaded from, not copies of them.

A module is built with memory that nobody has touched, and `load_state_dict` then copies each tensor into its place.
While this mode is on, such a copy is none: the parameter becomes the tensor. So any code that builds a model in the
usual way, ComfyUI's included, builds it without a copy, and what it does besides stays as it is. A tensor of another
type is converted, as the copy would have done.

The mode is of the thread that enters it; other threads load as ever.
"""
from __future__ import annotations

from typing import Any

import torch
from torch.overrides import TorchFunctionMode


class AliasWeights(TorchFunctionMode):
    """In `with AliasWeights() as counted:` parameters take the tensors that are copied into them.

    aliased_bytes, copied_bytes: how much was taken and how much had to be converted or copied after all.
    copied: the tensors that the latter came from.
    """

    def __init__(self) -> None:
        super().__init__()
        self.aliased_bytes = 0
        self.copied_bytes = 0
        self.copied: list[torch.Tensor] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.Tensor.copy_ and isinstance(args[0], torch.nn.Parameter) and len(args) == 2 and not kwargs:
            return self._take(args[0], args[1])
        return func(*args, **(kwargs or {}))

    def _take(self, parameter: torch.nn.Parameter, source: torch.Tensor) -> torch.Tensor:
        same_place = parameter.device == source.device and parameter.shape == source.shape
        if not same_place or parameter.dtype != source.dtype or not source.is_contiguous():
            self.copied_bytes += parameter.nbytes
            self.copied.append(source)
            return parameter.copy_(source)
        self.aliased_bytes += parameter.nbytes
        parameter.data = source
        return parameter
