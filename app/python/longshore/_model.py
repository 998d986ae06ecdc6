"""A loaded model."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Iterator

from . import _arrays, _core
from ._errors import InvalidArgumentError


class Model(Mapping):  # type: ignore[type-arg]
    """Names to arrays, made when they are asked for; each is a view of the model's memory.

    The memory stays as long as the model or one of its arrays, or a view of one, is alive: past the runtime's end too.
    """

    def __init__(self, files: "list[_core.File]", framework: str) -> None:
        self._files = files
        self._make = _arrays.maker(framework)
        self._tensors: "dict[str, tuple[_core.File, _arrays.Facts]]" = {}
        for file in files:
            for name, facts in file.tensors().items():
                if name in self._tensors:
                    raise InvalidArgumentError(f"two files of the model have a tensor {name!r}; load each by itself")
                self._tensors[name] = file, facts

    def __getitem__(self, name: str) -> Any:
        return self._make(*self._tensors[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)

    def __repr__(self) -> str:
        return f"<longshore.Model of {len(self)} tensors in {len(self._files)} files>"

    def dtype_of(self, name: str) -> str:
        """The tensor's type by its name in the format, such as "BF16"."""
        return self._tensors[name][1][0]

    def shape_of(self, name: str) -> "tuple[int, ...]":
        return self._tensors[name][1][1]

    def bytes_of(self, name: str) -> memoryview:
        """The tensor's bytes as they are in the file, whatever its type; read-only."""
        file, (_, _, begin, size) = self._tensors[name]
        return memoryview(file).toreadonly()[begin : begin + size]

    @property
    def is_mapped(self) -> bool:
        """Whether any of it is the page cache's memory."""
        return any(file.is_mapped for file in self._files)

    @property
    def metadata(self) -> "dict[str, str]":
        """What the files say of themselves; of several, the later one's word counts."""
        return {key: text for file in self._files for key, text in file.metadata().items()}
