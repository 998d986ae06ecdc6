#include "app/cli/preload_report.hpp"

#include <cstdio>

#include "app/cli/exit_code.hpp"
#include "app/cli/terminal.hpp"

namespace longshore {
namespace {

struct entry_sums {
  uint64_t tensors = 0, bytes = 0, direct = 0, buffered = 0, mapped = 0, host_copy = 0, uploaded = 0;

  std::string path() const {
    std::string text;
    for (const auto& [bytes_so, word] :
         {std::pair{direct, "direct"}, {buffered, "buffered"}, {mapped, "mapped"}, {host_copy, "host copy"}})
      if (bytes_so > 0)
        text += (text.empty() ? "" : "+") + std::string(word);
    return text.empty() ? "-" : text;
  }
};

entry_sums sums_of(const leased_model& model) {
  entry_sums sums;
  const auto add = [&sums](const std::vector<tensor_info>& tensors) {
    sums.tensors += tensors.size();
    for (const auto& tensor : tensors)
      sums.bytes += tensor.size_bytes();
  };
  for (const auto& file : model.files)
    add(file->tensors());
  for (const auto& file : model.device_files)
    add(file->tensors());
  for (const auto& report : model.reports) {
    sums.direct += report.direct_bytes;
    sums.buffered += report.buffered_bytes;
    sums.mapped += report.mapped_bytes;
    sums.host_copy += report.host_copy_bytes;
    sums.uploaded += report.uploaded_bytes;
  }
  return sums;
}

double seconds_of(const preloaded_entry& entry) { return static_cast<double>(entry.outcome.took_ns) / 1e9; }

json row_of(const preloaded_entry& entry) {
  json row{{"key", entry.entry.key},
           {"kind", name(entry.entry.kind)},
           {"pointer", entry.entry.pointer},
           {"files", entry.entry.files}};
  if (const auto* model = entry.model()) {
    const auto sums = sums_of(*model);
    row.update({{"tensors", sums.tensors},
                {"bytes", sums.bytes},
                {"seconds", seconds_of(entry)},
                {"gb_per_s", static_cast<double>(sums.bytes) / 1e9 / seconds_of(entry)},
                {"direct_bytes", sums.direct},
                {"buffered_bytes", sums.buffered},
                {"mapped_bytes", sums.mapped},
                {"where", entry.where()},
                {"uploaded_bytes", sums.uploaded},
                {"generation", model->generation},
                {"digest_ok", entry.digest_ok ? json(*entry.digest_ok) : json(nullptr)}});
  }
  if (entry.failure)
    row["error"] = to_json(*entry.failure);
  return row;
}

void print_table(const std::vector<preloaded_entry>& entries) {
  table t{{"key", "kind", "tensors", "bytes", "seconds", "GB/s", "where", "read", "digest"}};
  for (const auto& entry : entries) {
    if (const auto* model = entry.model()) {
      const auto sums = sums_of(*model);
      t.add({entry.entry.key, std::string{name(entry.entry.kind)}, std::to_string(sums.tensors),
             human_bytes(sums.bytes), fixed(seconds_of(entry), 3), human_rate(sums.bytes, seconds_of(entry)),
             entry.where(), sums.path(),
             !entry.digest_ok   ? "-"
             : *entry.digest_ok ? "ok"
                                : "WRONG"});
    } else {
      t.add({entry.entry.key, std::string{name(entry.entry.kind)}, "-", "-", "-", "-", "-",
             std::string{name(entry.failure->code)}, "-"});
    }
  }
  std::fputs(t.text().c_str(), stdout);
}

}  // namespace

int report_preloaded(const std::vector<preloaded_entry>& entries, runtime& loader, bool as_json) {
  if (as_json) {
    json models = json::array();
    for (const auto& entry : entries)
      models.push_back(row_of(entry));
    print_json({{"models", std::move(models)},
                {"engine", loader.engine_name()},
                {"host_limit_bytes", loader.host_limit_bytes()}});
  } else {
    print_table(entries);
  }
  int code = exit_ok;
  for (const auto& entry : entries)
    if (entry.failure) {
      print_error(*entry.failure);
      code = code == exit_ok ? exit_code_of(entry.failure->code) : code;
    }
  return code;
}

}  // namespace longshore
