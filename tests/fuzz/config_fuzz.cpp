// Fuzzes the preload configuration.
#include <map>

#include "fuzz_check.hpp"
#include "io/preload_config.hpp"
#include "io/relative_name.hpp"

using namespace longshore;

namespace {

const std::string path = "fuzz.json";

void check_entry(const preload_entry& entry) {
  FUZZ_CHECK(!entry.key.empty());
  FUZZ_CHECK(entry.pointer.starts_with("/models/"));
  FUZZ_CHECK(!entry.files.empty() && entry.files.size() <= 3);
  FUZZ_CHECK(entry.files.size() == 1 || entry.kind == model_kind::text_encoder);
  for (const auto& file : entry.files)
    FUZZ_CHECK(relative_name_flaw(file).empty());
  FUZZ_CHECK(!entry.type.empty());
  FUZZ_CHECK(entry.device == "default" || entry.device == "cpu");
}

void check_config(const preload_config& config) {
  FUZZ_CHECK(config.version.starts_with("1."));
  std::map<std::string, const preload_entry*> by_key;
  for (const auto& entry : config.entries) {
    check_entry(entry);
    if (entry.enabled)
      FUZZ_CHECK(same_source(*by_key.emplace(entry.key, &entry).first->second, entry));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto config = parse_preload_config({reinterpret_cast<const char*>(data), size}, path);
  if (config)
    check_config(*config);
  else
    FUZZ_CHECK(config.error().code == errc::bad_config && !config.error().what.empty());
  return 0;
}
