"""torch tensors: `load_file` in place of safetensors.torch's."""
from __future__ import annotations

from typing import TYPE_CHECKING, Union

from ._runtime import PathLike, default_runtime

if TYPE_CHECKING:
    import torch


def load_file(filename: PathLike, device: "Union[str, int, torch.device]" = "cpu") -> "dict[str, torch.Tensor]":
    """All tensors of a .safetensors file, or of the files of a .safetensors.index.json.

    On the CPU they are views of memory that this call has read for them alone, so they may be written to; the file
    never changes. It counts under the runtime's limit until the last view of the last tensor is gone.
    """
    model = default_runtime().load(filename, framework="torch")
    if device in ("cpu", None):
        return dict(model)
    return {name: tensor.to(device) for name, tensor in model.items()}
