#pragma once
/// One file of a model as Python sees it: where its bytes are, and what lies where in them.
///
/// Owns a share of the lease or of the file, so that a buffer of it keeps the memory. Immutable, any thread that has
/// the interpreter's lock. Failure: none; a file on a GPU has no buffer, and says so as Python's BufferError.

#include <span>
#include <string>

#include <nanobind/nanobind.h>

#include "app/python/load_board.hpp"

namespace longshore::python {

class leased_file {
public:
  /// `writable`: whether Python may write to its memory.
  leased_file(std::shared_ptr<const void> owner, const held_file& file, bool writable);
  leased_file(std::shared_ptr<const void> owner, const device_file& file, bool writable);

  const std::string& path() const { return *path_; }
  /// "cpu", or the device's name.
  const std::string& device() const { return device_; }
  bool is_mapped() const { return is_mapped_; }
  uintptr_t address() const { return reinterpret_cast<uintptr_t>(data_.data()); }
  size_t size_bytes() const { return data_.size(); }

  using texts = nanobind::typed<nanobind::dict, nanobind::str, nanobind::str>;
  using extents = nanobind::typed<nanobind::tuple, uint64_t, nanobind::ellipsis>;
  using facts = nanobind::typed<nanobind::tuple, nanobind::str, extents, uint64_t, uint64_t>;

  texts metadata() const;
  /// {name: (type, shape, begin, bytes)}, in the order of the file; the begin counts from `address`.
  nanobind::typed<nanobind::dict, nanobind::str, facts> tensors() const;

  int fill(PyObject* self, Py_buffer* view, int flags) const;

private:
  size_t begin_of(size_t tensor) const;

  std::shared_ptr<const void> owner_;
  const std::string* path_;
  const std::vector<tensor_info>* tensors_;
  const safetensors_header* header_ = nullptr;  // of a file in host memory
  const device_layout* layout_ = nullptr;       // of a file on a device
  std::string device_ = "cpu";
  bool is_mapped_ = false;
  bool writable_;
  std::span<const std::byte> data_{};
};

}  // namespace longshore::python
