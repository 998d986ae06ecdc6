// The program in a container's kind of memory limit: it knows the limit, keeps it, and is never killed for it.
#include <fcntl.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "app/cli/exit_code.hpp"
#include "io/digest_file.hpp"
#include "io/memory_limit.hpp"
#include "io/open_model.hpp"
#include "tests/faults/child_process.hpp"
#include "tests/faults/memory_cgroup.hpp"
#include "tests/io/test_files.hpp"

using namespace longshore;

namespace {

using nlohmann::json;
constexpr uint64_t mib = 1 << 20;
constexpr uint64_t cgroup_bytes = 512 * mib;

struct outcome {
  int status;
  json report;
};

class cgroup_faults : public testing::Test {
protected:
  cgroup_faults() { fs::create_directories(folder / "models/vae"); }

  void SetUp() override {
    ASSERT_EQ(cgroup.problem(), "")
        << "a memory cgroup is needed, which takes root and cgroup file systems that can be written. "
           "Set LONGSHORE_NO_CGROUP=1 to build without these tests";
  }

  /// A model of mostly holes, so that it costs time and disk only for what stands at its tensors' ends.
  std::string sparse_model(const std::string& name, uint64_t bytes) {
    const std::vector<made_tensor> tensors{
        {"front", bytes / 4}, {"middle", bytes / 2}, {"back", bytes - bytes / 4 - bytes / 2}};
    const auto path = folder / ("models/vae/" + name);
    const auto header = made_header(tensors);
    write_file(path, header);
    fs::resize_file(path, header.size() + bytes);
    const test_fd file{path, O_WRONLY};
    const auto island = made_bytes(2 * mib, bytes);
    auto end = header.size();
    for (const auto& tensor : tensors) {
      end += tensor.size_bytes;
      EXPECT_EQ(::pwrite(file, island.data(), island.size(), static_cast<off_t>(end - island.size())),
                static_cast<ssize_t>(island.size()));
    }
    return path;
  }

  std::string config_of(const std::vector<std::string>& names) {
    json vaes = json::array();
    for (const auto& name : names)
      vaes.push_back({{"vae_name", name}, {"cache_key", name}, {"enabled", true}});
    write_file(folder / "config.json", json{{"version", "1.0"}, {"models", {{"vaes", vaes}}}}.dump());
    return folder / "config.json";
  }

  outcome run(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), LONGSHORE_CLI);
    arguments.emplace_back("--json");
    child_process program{arguments, [this] { return cgroup.enter(); }};
    const auto text = program.read_all();
    return {program.wait(), json::parse(text, nullptr, false)};
  }

  static json digests_of(const std::string& path) {
    const auto file = model_file::open(path);
    const auto header = read_header(*file);
    const auto digests = digest_file(*file, *header);
    json by_name = json::object();
    for (size_t i = 0; i < digests->size(); ++i)
      by_name[header->tensors[i].name] = (*digests)[i];
    return by_name;
  }

  test_folder folder;
  memory_cgroup cgroup{cgroup_bytes};
};

TEST_F(cgroup_faults, the_limit_is_the_cgroups) {
  sparse_model("small", 16 * mib);
  const auto [status, report] = run({"preload", config_of({"small"}), "--models", folder / "models"});
  EXPECT_EQ(status, exit_ok);
  EXPECT_EQ(report["host_limit_bytes"], default_host_limit_bytes({.bytes = cgroup_bytes, .source = ""}));
  EXPECT_EQ(report["models"][0]["digest_ok"], true);
}

TEST_F(cgroup_faults, a_model_that_does_not_fit_is_refused_and_nothing_is_killed) {
  for (const auto bytes : {300 * mib, 600 * mib, 5000 * mib})
    EXPECT_EQ(run({"load", "--hold", "owned", sparse_model("large", bytes)}).status, exit_out_of_budget) << bytes;
}

TEST_F(cgroup_faults, the_others_load_beside_one_that_does_not_fit) {
  sparse_model("large", 600 * mib);
  sparse_model("small", 64 * mib);
  const auto [status, report] = run({"preload", config_of({"large", "small"}), "--models", folder / "models"});
  EXPECT_EQ(status, exit_out_of_budget);
  EXPECT_EQ(report["models"][0]["error"]["code"], "out_of_budget");
  EXPECT_EQ(report["models"][1]["digest_ok"], true);
}

TEST_F(cgroup_faults, a_model_that_just_fits_loads_with_the_right_bytes) {
  const auto path = sparse_model("fits", 250 * mib);
  const auto digests = digests_of(path);
  for (const auto* mode : {"direct", "buffered"}) {
    make_cold(path);
    const auto [status, report] = run({"load", "--hold", "owned", "--page-cache", mode, "--digest", path});
    EXPECT_EQ(status, exit_ok) << mode;
    EXPECT_EQ(report["digests"], digests) << mode;
  }
}

TEST_F(cgroup_faults, a_mapped_model_may_be_larger_than_the_limit) {
  const auto path = sparse_model("large", 600 * mib);
  const auto [status, report] = run({"load", "--hold", "mapped", "--digest", path});
  EXPECT_EQ(status, exit_ok);
  EXPECT_EQ(report["digests"], digests_of(path));
}

}  // namespace
