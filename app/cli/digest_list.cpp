#include "app/cli/digest_list.hpp"

#include <fstream>
#include <sstream>

#include "app/cli/terminal.hpp"
#include "io/part_file.hpp"

namespace longshore {
namespace {

constexpr size_t write_buffer_bytes = 1 << 16;

expected<std::map<std::string, std::string>> digests_in(const json& object, const std::string& path,
                                                        const std::string& pointer) {
  std::map<std::string, std::string> digests;
  if (!object.is_object())
    return unexpected(error{.code = errc::bad_format,
                            .what = "expected an object of tensor names and digests",
                            .path = path,
                            .where = pointer});
  for (const auto& [tensor, digest] : object.items()) {
    if (!digest.is_string())
      return unexpected(error{.code = errc::bad_format,
                              .what = "expected a digest of 32 hex digits",
                              .path = path,
                              .where = pointer + "/" + tensor});
    digests.emplace(tensor, digest.get<std::string>());
  }
  return digests;
}

}  // namespace

expected<digest_list> digest_list::read(const std::string& path) {
  std::ifstream in{path, std::ios::binary};
  if (!in)
    return unexpected(error{.code = errc::not_found, .what = "cannot open the list of digests", .path = path});
  std::stringstream text;
  text << in.rdbuf();
  const auto document = json::parse(text.str(), nullptr, false);
  if (document.is_discarded())
    return unexpected(error{
        .code = errc::bad_format, .what = "the list of digests is not JSON; write it anew with --write", .path = path});
  digest_list list;
  list.path_ = path;
  if (!document.is_object() || !document.contains("files")) {
    const auto* flat = document.is_object() && document.contains("digests") ? &document["digests"] : &document;
    auto digests = digests_in(*flat, path, "");
    if (!digests)
      return tl::unexpected(digests.error());
    list.flat_ = std::move(*digests);
    return list;
  }
  if (!document["files"].is_object())
    return unexpected(
        error{.code = errc::bad_format, .what = "expected an object of files", .path = path, .where = "/files"});
  for (const auto& [file, tensors] : document["files"].items()) {
    auto digests = digests_in(tensors, path, "/files/" + file);
    if (!digests)
      return tl::unexpected(digests.error());
    list.files_.emplace(file, std::move(*digests));
  }
  return list;
}

expected<void> digest_list::write(const std::string& path, const std::vector<file_digests>& files) {
  json document{{"files", json::object()}};
  for (const auto& file : files) {
    auto& tensors = document["files"][file.file] = json::object();
    for (const auto& [tensor, digest] : file.tensors)
      tensors[tensor] = digest;
  }
  part_file out{path, write_buffer_bytes};
  out.buffer() += document.dump(1, ' ', false, json::error_handler_t::replace) + "\n";
  out.appended();
  return out.commit();
}

expected<void> digest_list::check(const std::string& path, const file_digests& actual) const {
  const auto named = files_.find(actual.file);
  if (named == files_.end() && flat_.empty())
    return unexpected(error{.code = errc::mismatch, .what = path_ + " has no digests of this file", .path = path});
  auto expected_digests = named != files_.end() ? named->second : flat_;
  const auto differs = [&](std::string what, const std::string& tensor) {
    return unexpected(error{.code = errc::mismatch, .what = std::move(what), .path = path, .where = tensor});
  };
  for (const auto& [tensor, digest] : actual.tensors) {
    const auto wanted = expected_digests.extract(tensor);
    if (!wanted)
      return differs("the list of digests lacks this tensor", tensor);
    if (wanted.mapped() != digest)
      return differs("the tensor's digest is " + digest + ", but should be " + wanted.mapped(), tensor);
  }
  if (!expected_digests.empty())
    return differs("the file lacks this tensor", expected_digests.begin()->first);
  return {};
}

}  // namespace longshore
