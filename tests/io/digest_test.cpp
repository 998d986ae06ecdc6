// Digests: of bytes, of pieces, of the tensors of a file.
#include "io/digest.hpp"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "io/digest_file.hpp"
#include "io/open_model.hpp"
#include "tests/io/test_files.hpp"

using namespace longshore;

namespace {

TEST(digest, is_the_canonical_form_of_xxh3_128) {
  EXPECT_EQ(xxh3_128_hex({}), "99aa06d3014798d86001c324468d497f");
  const std::string text = "abc";
  EXPECT_EQ(xxh3_128_hex(std::as_bytes(std::span{text})), "06b05ab6733a618578af5f94892f3950");
}

RC_GTEST_PROP(digest, pieces_give_what_the_whole_gives, ()) {
  const auto bytes = made_bytes(*rc::gen::inRange<size_t>(0, 5000), *rc::gen::arbitrary<uint32_t>());
  xxh3_128_stream stream;
  for (int round = 0; round < 2; ++round) {  // the stream begins anew after each
    for (auto rest = std::span{bytes}; !rest.empty();) {
      const auto piece = *rc::gen::inRange<size_t>(1, rest.size() + 1);
      stream.add(rest.first(piece));
      rest = rest.subspan(piece);
    }
    RC_ASSERT(stream.finish_hex() == xxh3_128_hex(bytes));
  }
}

RC_GTEST_PROP(digest, a_flipped_bit_shows, ()) {
  auto bytes = made_bytes(*rc::gen::inRange<size_t>(1, 2000), 9);
  const auto before = xxh3_128_hex(bytes);
  bytes[*rc::gen::inRange<size_t>(0, bytes.size())] ^= std::byte{1} << *rc::gen::inRange(0, 8);
  RC_ASSERT(xxh3_128_hex(bytes) != before);
}

class digest_file_of : public testing::Test {
protected:
  digest_file_of() {
    write_file(path, content);
    file = std::make_unique<model_file>(*model_file::open(path));
    header = *read_header(*file);
  }

  test_folder folder;
  std::string path = folder / "model.safetensors";
  byte_vector content = made_model({{"one", 100'000}, {"none", 0}, {"two", 1}, {"three", 65'536}});
  std::unique_ptr<model_file> file;
  safetensors_header header;
};

TEST_F(digest_file_of, gives_each_tensor_whatever_the_block) {
  std::vector<std::string> expected_digests;
  for (const auto& tensor : header.tensors)
    expected_digests.push_back(
        xxh3_128_hex(std::span{content}.subspan(header.data_begin_bytes + tensor.begin_bytes, tensor.size_bytes())));
  for (const uint64_t block : {uint64_t{1000}, uint64_t{4096}, uint64_t{65'536}, uint64_t{8} << 20}) {
    const auto digests = digest_file(*file, header, {.block_bytes = block});
    ASSERT_TRUE(digests) << to_text(digests.error());
    EXPECT_EQ(*digests, expected_digests) << block;
  }
}

TEST_F(digest_file_of, reports_its_progress_and_stops_when_told) {
  std::vector<uint64_t> seen;
  const auto all = digest_file(*file, header, {.block_bytes = 65'536, .progress = [&](uint64_t done) {
                                                 seen.push_back(done);
                                                 return true;
                                               }});
  ASSERT_TRUE(all);
  EXPECT_EQ(seen, (std::vector<uint64_t>{65'536, 131'072, 165'537}));
  const auto stopped =
      digest_file(*file, header, {.block_bytes = 65'536, .progress = [](uint64_t done) { return done < 100'000; }});
  ASSERT_FALSE(stopped);
  EXPECT_EQ(stopped.error().code, errc::cancelled);
  EXPECT_EQ(stopped.error().path, path);
}

TEST_F(digest_file_of, says_that_the_file_changed) {
  const auto digests = digest_file(*file, header, {.progress = [&](uint64_t) {
    fs::resize_file(path, content.size() + 1);
    return true;
  }});
  ASSERT_FALSE(digests);
  EXPECT_EQ(digests.error().code, errc::changed_on_disk);
}

TEST_F(digest_file_of, says_where_the_file_ended) {
  fs::resize_file(path, content.size() - 100);
  const auto digests = digest_file(*file, header);
  ASSERT_FALSE(digests);
  EXPECT_EQ(digests.error().code, errc::bad_format);
  EXPECT_EQ(digests.error().offset_bytes, content.size() - 100);
}

}  // namespace
