"""A loaded model."""
from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, Iterator, Tuple

from . import _arrays, _core
from ._errors import InvalidArgumentError


# a file, the address at which its bytes begin, and where in them the tensor is
Where = Tuple[_core.File, int, _arrays.Facts]


def _places(file: _core.File) -> "dict[str, Where]":
    address = file.address
    with _arrays.no_collection():
        return {name: (file, address, facts) for name, facts in file.tensors().items()}


class Part(Mapping):  # type: ignore[type-arg]
    """One file of a model: names to tensors, as in the model. metadata: what the file says of itself."""

    def __init__(self, file: _core.File, framework: str) -> None:
        self.path, self.metadata, self._device = file.path, file.metadata(), file.device
        self._tensors, self._framework = _places(file), framework

    def __getitem__(self, name: str) -> Any:
        return _arrays.maker(self._framework, self._device)(*self._tensors[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)


class Model(Mapping):  # type: ignore[type-arg]
    """Names to tensors, made when they are asked for; each is a view of the model's memory.

    key, kind, generation: the cache's. hit: whether nothing had to be loaded.
    The memory stays as long as the model or one of its tensors, or a view of one, is alive: past the runtime's end too.
    On a GPU it also stays until the stream that was torch's current one when a tensor was made is through with it.
    Its arrays are numpy's, read-only, which has none on a GPU, or torch's. Since torch knows no read-only tensors, whoever
    writes to one that was not loaded with `writable=True` writes for all who share the model.
    """

    def __init__(self, pending: _core.PendingLoad, framework: str, writable: bool) -> None:
        # torch would warn at every tensor of a buffer that is read-only.
        self.key, self.kind, self.generation, self.hit, self._files = pending.taken(writable or framework == "torch")
        self._framework, self._pending = framework, pending

    @functools.cached_property
    def _tensors(self) -> "dict[str, Where]":
        every: "dict[str, Where]" = {}
        for file in self._files:
            here = _places(file)
            if twice := every.keys() & here.keys():
                raise InvalidArgumentError(f"two files of the model have a tensor {min(twice)!r}; take them from `parts`")
            every.update(here)
        return every

    @property
    def parts(self) -> "list[Part]":
        """A mapping for each file, in the order in which they were named: those of a text encoder share names."""
        return [Part(file, self._framework) for file in self._files]

    def __getitem__(self, name: str) -> Any:
        return _arrays.maker(self._framework, self.device)(*self._tensors[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)

    def __repr__(self) -> str:
        return f"<longshore.Model {self.key!r}: {self.bytes} bytes in {len(self._files)} files>"

    def tensors(self) -> "dict[str, Any]":
        """All of them, in the order of the files."""
        make = _arrays.maker(self._framework, self.device)
        with _arrays.no_collection():
            return {name: make(*where) for name, where in self._tensors.items()}

    def dtype_of(self, name: str) -> str:
        """The tensor's type by its name in the format, such as "BF16"."""
        return self._tensors[name][2][0]

    def shape_of(self, name: str) -> "tuple[int, ...]":
        return self._tensors[name][2][1]

    def bytes_of(self, name: str) -> memoryview:
        """The tensor's bytes in the file's order, whatever its type; read-only."""
        file, _, (_, _, begin, size) = self._tensors[name]
        return memoryview(file).toreadonly()[begin : begin + size]

    @property
    def bytes(self) -> int:
        """Of all tensors together."""
        return sum(size for file in self._files for _, _, _, size in file.tensors().values())

    @property
    def device(self) -> str:
        """Where the weights are: "cpu", "cuda:0", "host"."""
        return self._files[0].device if self._files else "cpu"

    @property
    def is_mapped(self) -> bool:
        """Whether any of it is the page cache's memory."""
        return any(file.is_mapped for file in self._files)

    @property
    def metadata(self) -> "dict[str, str]":
        """What the files say of themselves; of several, the later one's word counts."""
        return {key: text for file in self._files for key, text in file.metadata().items()}
