"""numpy arrays: `load_file` in place of safetensors.numpy's."""
from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._drop_in import load_file as _load_file

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ._orders import DType, PathLike


def load_file(filename: PathLike, *, backend: str = "auto", dtype: DType = None) -> "dict[str, NDArray[Any]]":
    """All tensors of a .safetensors file, or of the files of a .safetensors.index.json.

    They are nobody else's, so they may be written to; the file never changes. backend and dtype: as for longshore.torch.
    Raises TypeError where numpy has no such type (bfloat16, float8).
    """
    arrays: "dict[str, Any]" = _load_file(filename, "numpy", "cpu", backend, dtype)
    return arrays
