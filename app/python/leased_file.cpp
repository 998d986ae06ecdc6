#include "app/python/leased_file.hpp"

#include <nanobind/stl/string.h>

namespace nb = nanobind;

namespace longshore::python {

leased_file::leased_file(std::shared_ptr<const void> owner, const held_file& file, bool writable)
    : owner_(std::move(owner)),
      path_(&file.path()),
      tensors_(&file.tensors()),
      header_(&file.header()),
      is_mapped_(file.is_mapped()),
      writable_(writable) {
  if (!tensors_->empty())  // they are contiguous, so the first begins where all begin
    data_ = {file.bytes_of(tensors_->front()).data(), tensors_->back().end_bytes};
}

leased_file::leased_file(std::shared_ptr<const void> owner, const device_file& file, bool writable)
    : owner_(std::move(owner)),
      path_(&file.path()),
      tensors_(&file.tensors()),
      layout_(&file.layout()),
      device_(file.target().name()),
      writable_(writable),
      data_(reinterpret_cast<const std::byte*>(file.address()), file.layout().total_bytes()) {}

leased_file::texts leased_file::metadata() const {
  nb::dict all;
  if (header_ != nullptr)
    for (const auto& [key, text] : header_->metadata)
      all[key.c_str()] = text;
  return all;
}

size_t leased_file::begin_of(size_t tensor) const {
  return layout_ != nullptr ? layout_->offset_bytes(tensor) : (*tensors_)[tensor].begin_bytes;
}

nb::typed<nb::dict, nb::str, leased_file::facts> leased_file::tensors() const {
  nb::dict all;
  for (size_t i = 0; i < tensors_->size(); ++i) {
    const auto& tensor = (*tensors_)[i];
    auto shape = nb::steal<nb::tuple>(PyTuple_New(static_cast<Py_ssize_t>(tensor.shape.size())));
    for (size_t j = 0; j < tensor.shape.size(); ++j)
      PyTuple_SetItem(shape.ptr(), static_cast<Py_ssize_t>(j), nb::int_(tensor.shape[j]).release().ptr());
    all[tensor.name.c_str()] = nb::make_tuple(name(tensor.type).data(), shape, begin_of(i), tensor.size_bytes());
  }
  return all;
}

int leased_file::fill(PyObject* self, Py_buffer* view, int flags) const {
  if (device_ != "cpu" && device_ != "host") {
    PyErr_Format(PyExc_BufferError, "%s is in the memory of %s", path_->c_str(), device_.c_str());
    return -1;
  }
  // Python's buffers have no const; whether a consumer may write is the argument after the size.
  static std::byte nothing{};
  auto* begin = data_.empty() ? &nothing : const_cast<std::byte*>(data_.data());
  return PyBuffer_FillInfo(view, self, begin, static_cast<Py_ssize_t>(data_.size()), writable_ ? 0 : 1, flags);
}

}  // namespace longshore::python
