"""torch tensors: `load_file` in place of safetensors.torch's."""
from __future__ import annotations

from typing import TYPE_CHECKING, Any, Union

from ._drop_in import load_file as _load_file

if TYPE_CHECKING:
    import torch

    from ._orders import DType, PathLike


def load_file(
    filename: PathLike,
    device: "Union[str, int, torch.device]" = "cpu",
    *,
    backend: str = "auto",
    dtype: DType = None,
) -> "dict[str, torch.Tensor]":
    """All tensors of a .safetensors file, or of the files of a .safetensors.index.json.

    They are nobody else's, so they may be written to; the file never changes. On the CPU they are views of memory that
    counts under the runtime's limit, or of the page cache, until the last view of the last tensor is gone.
    device: any of torch's. Where it is the default runtime's own (LONGSHORE_DEVICE), the tensors are views of the device's
        memory that the runtime has read them to, and counts; else they are copied there from the host's.
    backend: "mmap" for views of the page cache, "pread" for memory of their own, "auto" for the first if the file is
        in the page cache, and the second if not.
    dtype: what float tensors become while they are read; bit for bit as `tensor.to(dtype)`.
    """
    tensors: "dict[str, Any]" = _load_file(filename, "torch", device, backend, dtype)
    return tensors
