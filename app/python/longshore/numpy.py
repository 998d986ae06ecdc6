"""numpy arrays: `load_file` in place of safetensors.numpy's."""
from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._runtime import PathLike, default_runtime

if TYPE_CHECKING:
    from numpy.typing import NDArray


def load_file(filename: PathLike) -> "dict[str, NDArray[Any]]":
    """All tensors of a .safetensors file, or of the files of a .safetensors.index.json.

    The arrays are read-only views of memory that all who load the file share; `copy()` one to write to it.
    Raises TypeError where numpy has no such type (bfloat16, float8).
    """
    return dict(default_runtime().load(filename))
