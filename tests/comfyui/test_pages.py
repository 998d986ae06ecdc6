"""Pages of mapped files are given back, and nothing is lost by it."""
import pytest

torch = pytest.importorskip("torch")
from pack import pages  # noqa: E402


def resident_bytes(tensor):
    """What of the mapping that a tensor lies in is in this process."""
    with open("/proc/self/smaps") as smaps:
        for line in smaps:
            if "-" in line.split()[0] and not line.split()[0].endswith(":"):
                first, last = (int(end, 16) for end in line.split()[0].split("-"))
                inside = first <= tensor.data_ptr() < last
            elif line.startswith("Rss:") and inside:
                return int(line.split()[1]) << 10
    raise AssertionError("no mapping has the tensor")


def test_the_pages_of_a_tensor_go_and_come_back_with_the_files_bytes(tmp_path):
    size = 8 << 20
    path = tmp_path / "bytes"
    path.write_bytes(bytes(range(256)) * (size // 256))
    tensor = torch.from_file(str(path), shared=True, size=size, dtype=torch.uint8)[3:]
    expected = tensor.clone()
    assert resident_bytes(tensor) >= size // 2
    pages.drop(tensor)
    assert resident_bytes(tensor) < size // 4
    assert torch.equal(tensor, expected)


def test_a_tensor_within_one_page_stays():
    tensor = torch.ones(3)
    pages.drop(tensor)
    assert tensor.sum() == 3
