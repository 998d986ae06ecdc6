"""safetensors' safe_open, by way of the default runtime."""
from __future__ import annotations

from typing import Any

from ._errors import Error, _format_error
from ._runtime import PathLike, default_runtime

_FRAMEWORKS = {"pt": "torch", "torch": "torch", "pytorch": "torch", "np": "numpy", "numpy": "numpy"}


class safe_open:
    """Opens a .safetensors file, or a .safetensors.index.json, with the names and results of safetensors' own.

    framework: "pt" or "np". device: torch's; tensors are made on the CPU and copied there.
    Reads all of the model when it is opened, since that is what the disk does fastest.
    Arrays of numpy are read-only; tensors of torch may be written to, and are nobody else's.
    """

    def __init__(self, filename: PathLike, framework: str, device: Any = "cpu") -> None:
        if framework not in _FRAMEWORKS:
            raise _error(f"framework {framework} is invalid")
        self._device = device
        self._model = default_runtime().load(filename, framework=_FRAMEWORKS[framework])

    def __enter__(self) -> "safe_open":
        return self

    def __exit__(self, *_: object) -> None:
        self._model = None  # type: ignore[assignment]

    def _opened(self) -> Any:
        if self._model is None:
            raise _error("File is closed")
        return self._model

    def keys(self) -> "list[str]":
        """The names of all tensors, in their alphabetical order."""
        return sorted(self._opened())

    def offset_keys(self) -> "list[str]":
        """The names of all tensors, in the order of the file."""
        return list(self._opened())

    def metadata(self) -> "dict[str, str] | None":
        return self._opened().metadata or None

    def get_tensor(self, name: str) -> Any:
        if name not in self._opened():
            raise _error(f"File does not contain tensor {name}")
        made = self._model[name]
        return made if self._device in ("cpu", None) or not hasattr(made, "to") else made.to(self._device)

    def get_slice(self, name: str) -> "_Slice":
        """For parts of a tensor, without a copy: `get_slice(name)[2:5, 0]`."""
        return _Slice(self.get_tensor(name), self._model.dtype_of(name))

    def get_tensors(self) -> "dict[str, Any]":
        return {name: self.get_tensor(name) for name in self.offset_keys()}


class _Slice:
    """A view of a tensor, of which one asks for parts."""

    def __init__(self, tensor: Any, dtype: str) -> None:
        self._tensor, self._dtype = tensor, dtype

    def __getitem__(self, index: Any) -> Any:
        return self._tensor[index]

    def get_shape(self) -> "list[int]":
        return list(self._tensor.shape)

    def get_dtype(self) -> str:
        """The type by its name in the format, such as "BF16"."""
        return self._dtype


def _error(text: str) -> Error:
    return _format_error()(text)
