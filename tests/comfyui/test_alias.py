"""Modules that take the tensors they are loaded from."""
import threading

import pytest
import torch
from pack.alias import AliasWeights


def linear(dtype=torch.float32):
    return torch.nn.Linear(8, 4, dtype=dtype).requires_grad_(False)


def tensors(dtype=torch.float32):
    return {"weight": torch.rand(4, 8, dtype=dtype), "bias": torch.rand(4, dtype=dtype)}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_a_tensor_of_the_same_type_is_taken_and_not_copied(dtype):
    module, source = linear(dtype), tensors(dtype)
    with AliasWeights() as counted:
        module.load_state_dict(source)
    assert {name: p.data_ptr() for name, p in module.named_parameters()} == {n: t.data_ptr() for n, t in source.items()}
    assert (counted.aliased_bytes, counted.copied_bytes) == (sum(t.nbytes for t in source.values()), 0)


def test_a_tensor_of_another_type_is_converted_and_the_source_stays():
    module, source = linear(), tensors(torch.float16)
    with AliasWeights() as counted:
        module.load_state_dict(source)
    assert torch.equal(module.weight, source["weight"].float()) and module.weight.dtype == torch.float32
    assert (counted.aliased_bytes, counted.copied_bytes) == (0, 144)


def test_a_tensor_that_is_not_contiguous_is_copied():
    module, turned = linear(), torch.rand(8, 4).t()
    with AliasWeights():
        module.load_state_dict({"weight": turned, "bias": torch.rand(4)})
    assert torch.equal(module.weight, turned) and module.weight.is_contiguous()


def test_tensors_that_are_no_parameters_are_copied_as_ever():
    buffer, source = torch.zeros(3), torch.ones(3)
    with AliasWeights():
        buffer.copy_(source)
    assert torch.equal(buffer, source) and buffer.data_ptr() != source.data_ptr()


def test_other_threads_copy_as_ever():
    module, source = linear(), tensors()
    with AliasWeights():
        other = threading.Thread(target=module.load_state_dict, args=(source,))
        other.start()
        other.join()
    assert torch.equal(module.weight, source["weight"]) and module.weight.data_ptr() != source["weight"].data_ptr()


def test_a_module_that_took_its_tensors_computes_in_inference_mode_as_one_that_copied():
    copied, aliased, source, x = linear(), linear(), tensors(), torch.rand(2, 8)
    copied.load_state_dict(source)
    with AliasWeights():
        aliased.load_state_dict(source)
    with torch.inference_mode():
        assert torch.equal(copied(x), aliased(x))
