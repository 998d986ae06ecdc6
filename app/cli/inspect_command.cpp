/// `longshore inspect`: what is in a file or a sharded model, from the headers alone.

#include <algorithm>
#include <map>

#include "app/cli/commands.hpp"
#include "app/cli/exit_code.hpp"
#include "app/cli/terminal.hpp"
#include "io/model_source.hpp"
#include "io/open_model.hpp"

namespace longshore {
namespace {

struct inspect_arguments {
  std::string path;
  size_t largest = 10;
  bool all = false;
  bool json = false;
};

struct inspected_file {
  std::string path;
  uint64_t file_bytes = 0;
  safetensors_header header;
};

expected<std::vector<inspected_file>> inspect_all(const model_source& source) {
  std::vector<inspected_file> files;
  for (const auto& part : source.files) {
    const auto file = model_file::open(part.path);
    if (!file)
      return tl::unexpected(file.error());
    auto header = read_header(*file);
    if (!header)
      return tl::unexpected(header.error());
    files.push_back({part.path, file->size_bytes(), std::move(*header)});
  }
  return files;
}

expected<void> check_index(const model_source& source, const std::vector<inspected_file>& files) {
  if (!source.index)
    return {};
  std::vector<std::vector<std::string_view>> names(files.size());
  for (size_t i = 0; i < files.size(); ++i)
    for (const auto& tensor : files[i].header.tensors)
      names[i].push_back(tensor.name);
  return check_shards(*source.index, source.index_path, names);
}

std::vector<const tensor_info*> all_tensors(const std::vector<inspected_file>& files) {
  std::vector<const tensor_info*> tensors;
  for (const auto& file : files)
    for (const auto& tensor : file.header.tensors)
      tensors.push_back(&tensor);
  return tensors;
}

struct dtype_sum {
  uint64_t tensors = 0;
  uint64_t bytes = 0;
};

std::map<std::string, dtype_sum> sums_by_dtype(const std::vector<const tensor_info*>& tensors) {
  std::map<std::string, dtype_sum> sums;
  for (const auto* tensor : tensors) {
    auto& sum = sums[std::string{name(tensor->type)}];
    ++sum.tensors;
    sum.bytes += tensor->size_bytes();
  }
  return sums;
}

std::vector<const tensor_info*> largest_of(std::vector<const tensor_info*> tensors, size_t count) {
  std::sort(tensors.begin(), tensors.end(), [](const auto* a, const auto* b) {
    return a->size_bytes() != b->size_bytes() ? a->size_bytes() > b->size_bytes() : a->name < b->name;
  });
  tensors.resize(std::min(tensors.size(), count));
  return tensors;
}

json tensor_json(const tensor_info& t) {
  return {{"name", t.name}, {"dtype", name(t.type)}, {"shape", t.shape}, {"bytes", t.size_bytes()}};
}

void print_as_json(const inspect_arguments& arguments, const std::vector<inspected_file>& files) {
  const auto tensors = all_tensors(files);
  json report{{"path", arguments.path}, {"files", json::array()}, {"tensors", json::array()}};
  uint64_t bytes = 0;
  for (const auto& file : files) {
    json metadata = json::object();
    for (const auto& [key, value] : file.header.metadata)
      metadata[key] = value;
    report["files"].push_back({{"path", file.path}, {"bytes", file.file_bytes}, {"metadata", std::move(metadata)}});
  }
  for (const auto* tensor : tensors) {
    bytes += tensor->size_bytes();
    report["tensors"].push_back(tensor_json(*tensor));
  }
  report["bytes"] = bytes;
  report["dtypes"] = json::object();
  for (const auto& [type, sum] : sums_by_dtype(tensors))
    report["dtypes"][type] = {{"tensors", sum.tensors}, {"bytes", sum.bytes}};
  report["largest"] = json::array();
  for (const auto* tensor : largest_of(tensors, arguments.largest))
    report["largest"].push_back(tensor_json(*tensor));
  print_json(report);
}

std::string shape_text(const std::vector<uint64_t>& shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i)
    text += (i == 0 ? "" : ", ") + std::to_string(shape[i]);
  return text + "]";
}

std::string tensor_table(const std::vector<const tensor_info*>& tensors) {
  table t{{"tensor", "dtype", "shape", "bytes"}};
  for (const auto* tensor : tensors)
    t.add(
        {tensor->name, std::string{name(tensor->type)}, shape_text(tensor->shape), human_bytes(tensor->size_bytes())});
  return t.text();
}

void print_for_people(const inspect_arguments& arguments, const std::vector<inspected_file>& files) {
  const auto tensors = all_tensors(files);
  uint64_t bytes = 0;
  for (const auto* tensor : tensors)
    bytes += tensor->size_bytes();
  std::printf("%s: %zu tensors, %s in %zu file%s\n\n", arguments.path.c_str(), tensors.size(),
              human_bytes(bytes).c_str(), files.size(), files.size() == 1 ? "" : "s");
  table types{{"dtype", "tensors", "bytes"}};
  for (const auto& [type, sum] : sums_by_dtype(tensors))
    types.add({type, std::to_string(sum.tensors), human_bytes(sum.bytes)});
  std::printf("%s\n", types.text().c_str());
  if (arguments.all || tensors.size() <= 2 * arguments.largest) {
    std::fputs(tensor_table(tensors).c_str(), stdout);
  } else {
    std::printf("The largest (--all shows every tensor):\n%s",
                tensor_table(largest_of(tensors, arguments.largest)).c_str());
  }
}

int run_inspect(const inspect_arguments& arguments) {
  const auto source = find_source({arguments.path}, {.hold = hold_choice::owned});
  auto files = source ? inspect_all(*source) : tl::unexpected(source.error());
  auto checked = files ? check_index(*source, *files) : tl::unexpected(files.error());
  if (!checked) {
    print_error(checked.error());
    return exit_code_of(checked.error().code);
  }
  if (arguments.json)
    print_as_json(arguments, *files);
  else
    print_for_people(arguments, *files);
  return exit_ok;
}

}  // namespace

void add_inspect_command(CLI::App& app, context& ctx) {
  auto arguments = std::make_shared<inspect_arguments>();
  auto* command =
      app.add_subcommand("inspect", "Show the tensors of a file or a shard index, without reading their data");
  command->add_option("FILE", arguments->path, "a .safetensors file, or a .safetensors.index.json")->required();
  command->add_option("--largest", arguments->largest, "how many of the largest tensors to show");
  command->add_flag("--all", arguments->all, "show every tensor");
  command->add_flag("--json", arguments->json, "one JSON object on stdout, with every tensor");
  command->callback([arguments, &ctx] { ctx.run = [arguments] { return run_inspect(*arguments); }; });
}

}  // namespace longshore
