"""What stands in a streamed module where a weight is while its layer does not run."""
from __future__ import annotations

from typing import Any, NoReturn

import torch

from ._errors import AbsentWeightError


class AbsentWeight(torch.Tensor):
    """Has the weight's shape, type and device, and no bytes: whatever would read them says so instead."""

    _is_param = True  # to torch's modules
    weight: str
    layer: str

    @staticmethod
    def of(shape: "tuple[int, ...]", dtype: torch.dtype, device: str, name: str, layer: str) -> "AbsentWeight":
        made: AbsentWeight = torch.Tensor._make_wrapper_subclass(
            AbsentWeight, shape, dtype=dtype, device=torch.device(device), requires_grad=False
        )
        made.weight, made.layer = name, layer
        return made

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> NoReturn:
        absent = next((one for one in (*args, *(kwargs or {}).values()) if isinstance(one, AbsentWeight)), None)
        if absent is None:  # in a list of tensors
            raise AbsentWeightError(f"{func} was given weights that are not on the device: their module is streamed")
        absent.refuse(f"{func} cannot have it")

    def refuse(self, what: str) -> NoReturn:
        raise AbsentWeightError(
            f"{what}: the weight {self.weight!r} is streamed, and on the device only while its layer {self.layer!r} runs. "
            "Code that uses it elsewhere goes into `with streamed.use(name):`, or name a module around it in `layers`; "
            "`detach` gives the module back as it was; another type is `stream`'s `dtype`"
        )

    def __deepcopy__(self, memo: Any) -> NoReturn:
        self.refuse("a streamed module cannot be copied")

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        self.refuse("a streamed module cannot be pickled")

    def __repr__(self, *, tensor_contents: Any = None) -> str:  # type: ignore[override]
        return f"<absent weight {self.weight!r}, {tuple(self.shape)} of {self.dtype}>"
