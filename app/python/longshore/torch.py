"""torch tensors: `load_file` in place of safetensors.torch's, and `stream` for modules that do not fit the device."""
from __future__ import annotations

from typing import TYPE_CHECKING, Any, Union

from ._drop_in import load_file as _load_file

if TYPE_CHECKING:
    import torch

    from ._layers import Layers, Names
    from ._orders import DType, PathLike
    from ._runtime import Runtime
    from ._settings import Size
    from ._stream import StreamSource
    from ._streamed import StreamedModule


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


def stream(
    module: "torch.nn.Module",
    model: "StreamSource",
    device_budget: "Size | None" = None,
    *,
    layers: "Layers" = None,
    names: "Names" = None,
    strict: bool = True,
    dtype: DType = None,
    copy: "bool | None" = None,
    layer_bytes: "Size" = "64MiB",
    deadline: float = 60.0,
    runtime: "Runtime | None" = None,
) -> "StreamedModule":
    """Lets the module run with its weights on the runtime's device only while they are used.

    The module keeps its own weights, which it gets back from `detach`; made under `torch.device("meta")` they take no
    memory. Weights are for reading, and have no gradient.

    model: a file, the files of one model, or a `longshore.Model` that was loaded without `dtype`.
    device_budget: bytes that weights may take of the device; None: what the runtime may take of it.
    layers: names of modules, or lists of them, that come and go as one. Of what is not named here, a module of more than
        layer_bytes (or a quarter of the budget) is split into those inside it, and so on; weights of its own are there
        as long as it runs. Neighbours join while one of them is smaller than a sixteenth of layer_bytes.
    names: from the module's names to the model's: what to put before them, a mapping, or a function.
    strict: whether it is an error when one has what the other lacks.
    dtype: what float tensors become on their way, as in `load`.
    copy: whether the model stays in host memory, page-locked as far as the budget for that goes; False: read from the
        disk as it is used; None: in host memory if the runtime's limit allows it.
    deadline: seconds to wait for a layer.
    runtime: one with a device; None: the default runtime.

    Raises InvalidArgumentError where the module and the model do not go together, with the nearest name, and what
    `Runtime.load` raises. A forward raises OutOfBudgetError where a layer does not fit beside those in use.
    """
    from ._runtime import default_runtime
    from ._streamed import StreamedModule

    return StreamedModule(
        runtime or default_runtime(),
        module,
        model,
        device_budget,
        layers=layers,
        names=names,
        strict=strict,
        dtype=dtype,
        copy=copy,
        layer_bytes=layer_bytes,
        deadline=deadline,
    )
