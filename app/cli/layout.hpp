#pragma once
/// Which tensors a model file has, without their bytes: what `make_checkpoint` fills with made-up weights.
///
/// Plain data, read once from JSON: {"tensors": {NAME: {"dtype": D, "shape": [N, ...]}}}; other fields are ignored.
/// Limits: `layout_limits`. Thread rule: none needed, no function keeps state.
/// Failure: `errc::not_found` or `errc::io_failed` with the path; `errc::bad_format` with the tensor in `where`.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "cache/error.hpp"
#include "io/safetensors.hpp"

namespace longshore {

struct layout_tensor {
  std::string name;
  dtype type = dtype::F16;
  std::vector<uint64_t> shape;  ///< empty for a scalar

  uint64_t elements() const;
  uint64_t size_bytes() const;
  friend bool operator==(const layout_tensor&, const layout_tensor&) = default;
};

struct layout {
  std::vector<layout_tensor> tensors;  ///< names are unique

  uint64_t size_bytes() const;
};

struct layout_limits {
  uint64_t max_total_bytes = uint64_t{1} << 40;  ///< all tensors together
};

expected<layout> read_layout(const std::string& path, layout_limits limits = {});

/// A layout that comes with the program, by its file name without ".json": "sd15-tiny", "clip_l", "sd15", "sdxl",
/// "flux1-small".
expected<layout> named_layout(std::string_view name);

/// `count` tensors of `bytes_each` in F16: the shape of a model that is all small pieces. `bytes_each` must be even.
layout uniform_layout(size_t count, uint64_t bytes_each);

/// The tensors whose names begin with `prefix`, without it.
layout part_of(const layout& whole, std::string_view prefix);

}  // namespace longshore
