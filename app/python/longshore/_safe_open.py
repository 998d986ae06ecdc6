"""safetensors' safe_open."""
from __future__ import annotations

import os
from typing import Any

from . import _arrays, _core
from ._drop_in import hold_of
from ._errors import Error, format_error
from ._orders import PathLike

_FRAMEWORKS = {"pt": "torch", "torch": "torch", "pytorch": "torch", "np": "numpy", "numpy": "numpy"}


class safe_open:
    """Opens a .safetensors file, or a .safetensors.index.json, with the names and results of safetensors' own.

    framework: "pt" or "np". device: torch's; tensors are made on the CPU and copied there.
    Opening reads the headers alone, and a tensor is read when its bytes are: it is a view of the page cache, copied
    where it is written to. `get_tensors`, for all of them, is faster: it is `load_file`. backend: as there.
    """

    def __init__(self, filename: PathLike, framework: str, device: Any = "cpu", *, backend: str = "auto") -> None:
        if framework not in _FRAMEWORKS:
            raise _error(f"framework {framework} is invalid")
        hold_of(backend)
        self._filename, self._framework, self._backend = filename, _FRAMEWORKS[framework], backend
        self._device = "cpu" if device is None else device
        self._make = _arrays.maker(self._framework)
        self._files: "list[_core.File] | None" = _core.open_mapped(os.path.abspath(filename))
        self._tensors = {
            name: (file, file.address, facts) for file in self._files for name, facts in file.tensors().items()
        }

    def __enter__(self) -> "safe_open":
        return self

    def __exit__(self, *_: object) -> None:
        self._files = None

    def _opened(self) -> "list[_core.File]":
        if self._files is None:
            raise _error("File is closed")
        return self._files

    def keys(self) -> "list[str]":
        """The names of all tensors, in their alphabetical order."""
        self._opened()
        return sorted(self._tensors)

    def offset_keys(self) -> "list[str]":
        """The names of all tensors, in the order of the file."""
        self._opened()
        return list(self._tensors)

    def metadata(self) -> "dict[str, str] | None":
        all_of_it = {key: text for file in self._opened() for key, text in file.metadata().items()}
        return all_of_it or None

    def get_tensor(self, name: str) -> Any:
        return self._placed(self._view(name))

    def get_slice(self, name: str) -> "_Slice":
        """For parts of a tensor: `get_slice(name)[2:5, 0]` reads what is asked for."""
        return _Slice(self, name)

    def get_tensors(self) -> "dict[str, Any]":
        from ._drop_in import load_file

        self._opened()
        return load_file(self._filename, self._framework, self._device, self._backend, None)

    def _view(self, name: str) -> Any:
        self._opened()
        if name not in self._tensors:
            raise _error(f"File does not contain tensor {name}")
        return self._make(*self._tensors[name])

    def _placed(self, view: Any) -> Any:
        return view if self._device == "cpu" or not hasattr(view, "to") else view.to(self._device)


class _Slice:
    """A tensor of which one asks for parts."""

    def __init__(self, opened: safe_open, name: str) -> None:
        self._opened, self._view = opened, opened._view(name)
        self._dtype, self._shape = opened._tensors[name][2][:2]

    def __getitem__(self, index: Any) -> Any:
        return self._opened._placed(self._view[index])

    def get_shape(self) -> "list[int]":
        return list(self._shape)

    def get_dtype(self) -> str:
        """The type by its name in the format, such as "BF16"."""
        return self._dtype


def _error(text: str) -> Error:
    return format_error()(text)
