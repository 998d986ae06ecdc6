#pragma once
/// Which types a file's float tensors become when they are cast on their way: all of them one, or by the begin of their
/// names, since the parts of a checkpoint compute in different types.
///
/// Owns its prefixes. Immutable, any thread. The text of a rule: a type's name in the format, "F16"; or
/// "PREFIX=TYPE" separated by commas, such as "model.diffusion_model.=F32,first_stage_model.=F32". The longest prefix
/// that a name begins with decides; a tensor that none names stays as it is, as does what is no float type, and all of
/// it where the text is empty.
/// Failure: `bad_argument` for a type that nothing is cast to, and for a rule without one.

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cache/error.hpp"
#include "io/safetensors.hpp"

namespace longshore {

class cast_rule {
public:
  static expected<cast_rule> parse(std::string_view text);

  cast_rule() = default;                               ///< everything stays as it is
  cast_rule(dtype to) : types_by_prefix_{{"", to}} {}  ///< every float tensor is of this type

  /// What the tensor becomes; its own type where it stays as it is.
  dtype type_of(const tensor_info& tensor) const;

private:
  std::vector<std::pair<std::string, dtype>> types_by_prefix_;  // the longest prefix first
};

}  // namespace longshore
