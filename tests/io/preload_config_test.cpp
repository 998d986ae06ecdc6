// The preload configuration: every field read, every rule broken once, with the pointer that the error names.
#include "io/preload_config.hpp"

#include <fstream>
#include <iterator>
#include <tuple>

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

using namespace longshore;

namespace {

preload_config good(std::string_view json) {
  const auto config = parse_preload_config(json, "p.json");
  EXPECT_TRUE(config.has_value()) << to_text(config.error());
  return config.value_or(preload_config{});
}

error refusal(std::string_view json, config_limits limits = {}) {
  const auto config = parse_preload_config(json, "p.json", limits);
  return config ? error{.what = "accepted"} : config.error();
}

std::string with_models(const std::string& models) { return R"({"version":"1.0","models":{)" + models + "}}"; }

struct refused {
  std::string json;
  const char* where;
  const char* message;
};

void expect_refused(const std::vector<refused>& cases) {
  for (const auto& c : cases) {
    SCOPED_TRACE(c.json);
    const auto e = refusal(c.json);
    EXPECT_EQ(e.code, errc::bad_config);
    EXPECT_EQ(e.path, "p.json");
    EXPECT_EQ(e.where, c.where);
    EXPECT_NE(e.what.find(c.message), std::string::npos) << e.what;
  }
}

constexpr auto full_config = R"({
  "version": "1.2", "description": "all fields",
  "models": {
    "vaes": [{"vae_name": "v.safetensors", "cache_key": "", "enabled": false, "description": "d4"}],
    "diffusion_models": [{"model_name": "sub/u.safetensors", "weight_dtype": "fp8_e4m3fn_fast", "description": "d3"}],
    "text_encoders": [{"clip_names": ["l.st", "g.st", "t5.st"], "type": "sd3", "device": "cpu"},
                      {"clip_names": ["l.st"], "cache_key": "mine"}],
    "checkpoints": [{"name": "c.safetensors", "enabled": true}]
  },
  "settings": {"auto_gpu_load": true, "verbose": true}
})";

}  // namespace

TEST(preload_config, reads_every_field) {
  const auto config = good(full_config);
  EXPECT_EQ(config.version, "1.2");
  EXPECT_EQ(config.description, "all fields");
  EXPECT_TRUE(config.auto_gpu_load);
  EXPECT_TRUE(config.verbose);
  EXPECT_TRUE(config.warnings.empty());
  ASSERT_EQ(config.entries.size(), 5u);
  const auto& [ckpt, triple, single, unet, vae] =
      std::tie(config.entries[0], config.entries[1], config.entries[2], config.entries[3], config.entries[4]);
  EXPECT_EQ(ckpt.kind, model_kind::ckpt);
  EXPECT_EQ(ckpt.pointer, "/models/checkpoints/0");
  EXPECT_EQ(triple.kind, model_kind::text_encoder);
  EXPECT_EQ(triple.files, (std::vector<std::string>{"l.st", "g.st", "t5.st"}));
  EXPECT_EQ(triple.type, "sd3");
  EXPECT_EQ(triple.device, "cpu");
  EXPECT_EQ(single.pointer, "/models/text_encoders/1");
  EXPECT_EQ(single.type, "stable_diffusion");
  EXPECT_EQ(single.device, "default");
  EXPECT_EQ(unet.kind, model_kind::diffusion_model);
  EXPECT_EQ(unet.weight_dtype, "fp8_e4m3fn_fast");
  EXPECT_EQ(unet.description, "d3");
  EXPECT_TRUE(unet.enabled);
  EXPECT_EQ(vae.kind, model_kind::vae);
  EXPECT_EQ(vae.files, std::vector<std::string>{"v.safetensors"});
  EXPECT_FALSE(vae.enabled);
}

TEST(preload_config, makes_the_keys_that_comfyui_nodes_look_for) {
  const auto config = good(full_config);
  EXPECT_EQ(config.entries[0].key, "c.safetensors");
  EXPECT_EQ(config.entries[1].key, "l.st_g.st_t5.st_sd3_cpu");
  EXPECT_EQ(config.entries[2].key, "mine");
  EXPECT_EQ(config.entries[3].key, "sub/u.safetensors_fp8_e4m3fn_fast");
  EXPECT_EQ(config.entries[4].key, "v.safetensors");
}

TEST(preload_config, refuses_text_that_is_not_json_and_says_the_line) {
  const auto e = refusal("{\n\"version\": \"1.0\",\n}");
  EXPECT_EQ(e.code, errc::bad_config);
  EXPECT_EQ(e.offset_bytes, 20u);
  EXPECT_NE(e.what.find("line 3, column 1"), std::string::npos) << e.what;
  EXPECT_EQ(refusal(R"({"models":{"vaes":[],"vaes":[]}})").where, "/models/vaes");
}

TEST(preload_config, refuses_wrong_values_of_the_frame) {
  expect_refused({
      {"[]", "", "expected an object, found an array"},
      {R"({"version":"1.0"})", "/models", "required field is missing"},
      {R"({"version":"1.0","modles":{}})", "/models", "is it what \"modles\" means?"},
      {R"({"version":1.0,"models":{}})", "/version", "expected a string, found a number"},
      {R"({"version":"2.0","models":{}})", "/version", "expected version 1.x"},
      {R"({"version":"1","models":{}})", "/version", "expected version 1.x"},
      {R"({"version":"1.","models":{}})", "/version", "expected version 1.x"},
      {R"({"version":"1.x","models":{}})", "/version", "expected version 1.x"},
      {R"({"version":"10.0","models":{}})", "/version", "expected version 1.x"},
      {R"({"description":[],"models":{}})", "/description", "expected a string, found an array"},
      {R"({"models":null})", "/models", "expected an object, found null"},
      {with_models(R"("vaes":{})"), "/models/vaes", "expected an array, found an object"},
      {with_models(R"("vaes":["v.st"])"), "/models/vaes/0", "expected an object, found a string"},
      {R"({"models":{},"settings":true})", "/settings", "expected an object, found a boolean"},
      {R"({"models":{},"settings":{"verbose":1}})", "/settings/verbose", "expected true or false, found a number"},
      {R"({"models":{},"settings":{"auto_gpu_load":"yes"}})", "/settings/auto_gpu_load", "expected true or false"},
  });
}

TEST(preload_config, refuses_wrong_values_of_entries) {
  expect_refused({
      {with_models(R"("checkpoints":[{}])"), "/models/checkpoints/0/name", "required field is missing"},
      {with_models(R"("vaes":[{"vae_nam":"v"}])"), "/models/vaes/0/vae_name", "is it what \"vae_nam\" means?"},
      {with_models(R"("diffusion_models":[{"model_name":3}])"), "/models/diffusion_models/0/model_name",
       "expected a file name, found a number"},
      {with_models(R"("vaes":[{"vae_name":"v"},{"vae_name":""}])"), "/models/vaes/1/vae_name", "must not be empty"},
      {with_models(R"("vaes":[{"vae_name":"/v"}])"), "/models/vaes/0/vae_name", "must be relative"},
      {with_models(R"("vaes":[{"vae_name":"../v"}])"), "/models/vaes/0/vae_name", "must not leave"},
      {with_models(R"("vaes":[{"vae_name":"a\\v"}])"), "/models/vaes/0/vae_name", "backslash"},
      {with_models(R"("vaes":[{"vae_name":"v\u0000"}])"), "/models/vaes/0/vae_name", "NUL"},
      {with_models(R"("vaes":[{"vae_name":"v","enabled":"true"}])"), "/models/vaes/0/enabled", "true or false"},
      {with_models(R"("vaes":[{"vae_name":"v","enabled":false,"cache_key":null}])"), "/models/vaes/0/cache_key",
       "expected a string, found null"},
      {with_models(R"("vaes":[{"vae_name":"v","description":{}}])"), "/models/vaes/0/description", "a string"},
      {with_models(R"("diffusion_models":[{"model_name":"u","weight_dtype":"fp8"}])"),
       "/models/diffusion_models/0/weight_dtype", "one of default, fp8_e4m3fn, fp8_e4m3fn_fast, fp8_e5m2; found"},
  });
}

TEST(preload_config, refuses_wrong_text_encoders) {
  const auto encoder = [](const std::string& fields) { return with_models(R"("text_encoders":[{)" + fields + "}]"); };
  expect_refused({
      {encoder(R"("type":"sdxl")"), "/models/text_encoders/0/clip_names", "required field is missing"},
      {encoder(R"("clip_names":"l")"), "/models/text_encoders/0/clip_names", "expected an array, found a string"},
      {encoder(R"("clip_names":[])"), "/models/text_encoders/0/clip_names", "one to three file names, found 0"},
      {encoder(R"("clip_names":["a","b","c","d"])"), "/models/text_encoders/0/clip_names", "found 4"},
      {encoder(R"("clip_names":["a",1])"), "/models/text_encoders/0/clip_names/1", "expected a file name"},
      {encoder(R"("clip_names":["a","../b"])"), "/models/text_encoders/0/clip_names/1", "must not leave"},
      {encoder(R"("clip_names":["a"],"type":1)"), "/models/text_encoders/0/type", "expected a string"},
      {encoder(R"("clip_names":["a"],"type":"")"), "/models/text_encoders/0/type", "found an empty string"},
      {encoder(R"("clip_names":["a"],"device":"gpu")"), "/models/text_encoders/0/device", "one of default, cpu"},
  });
}

TEST(preload_config, refuses_one_key_for_two_models) {
  expect_refused({
      {with_models(R"("vaes":[{"vae_name":"v","cache_key":"k"},{"vae_name":"w","cache_key":"k"}])"), "/models/vaes/1",
       "the key \"k\" already stands for the different model of /models/vaes/0"},
      {with_models(R"("vaes":[{"vae_name":"v"}],"checkpoints":[{"name":"v"}])"), "/models/vaes/0",
       "different model of /models/checkpoints/0"},
      {with_models(R"("diffusion_models":[{"model_name":"u","cache_key":"k"},
                                          {"model_name":"u","cache_key":"k","weight_dtype":"fp8_e5m2"}])"),
       "/models/diffusion_models/1", "give one of them another cache_key"},
  });
}

TEST(preload_config, allows_a_shared_key_where_it_does_no_harm) {
  EXPECT_EQ(good(with_models(R"("vaes":[{"vae_name":"v"},{"vae_name":"v"}])")).entries.size(), 2u);
  EXPECT_EQ(good(with_models(R"("vaes":[{"vae_name":"v","cache_key":"k"},
                                        {"vae_name":"w","cache_key":"k","enabled":false}])"))
                .entries.size(),
            2u);
}

TEST(preload_config, warns_of_unknown_fields_with_the_nearest_name) {
  const auto config = good(R"({"version":"1.0","descripton":"","models":{"vae":[],
    "vaes":[{"vae_name":"v","chache_key":"k","zzzzzz":1,"weight_dtype":"default"}]},"settings":{"verbos":1}})");
  const std::vector<std::string> wanted{
      "/models/vaes/0/chache_key: unknown field, ignored; did you mean \"cache_key\"?",
      "/models/vaes/0/weight_dtype: unknown field, ignored",
      "/models/vaes/0/zzzzzz: unknown field, ignored",
      "/models/vae: unknown field, ignored; did you mean \"vaes\"?",
      "/settings/verbos: unknown field, ignored; did you mean \"verbose\"?",
      "/descripton: unknown field, ignored; did you mean \"description\"?",
  };
  EXPECT_EQ(config.warnings, wanted);
}

TEST(preload_config, warns_of_a_missing_version_and_of_new_encoder_types) {
  const auto config = good(R"({"models":{"text_encoders":[{"clip_names":["a"],"type":"sdlx"},
                                                          {"clip_names":["a"],"type":"brand_new_family"}]}})");
  ASSERT_EQ(config.warnings.size(), 3u);
  EXPECT_EQ(config.version, "1.0");
  EXPECT_EQ(config.warnings[0], "/version: missing, read as \"1.0\"");
  EXPECT_EQ(
      config.warnings[1],
      "/models/text_encoders/0/type: unknown text encoder type \"sdlx\", passed on as it is; did you mean \"sdxl\"?");
  EXPECT_EQ(config.entries[1].type, "brand_new_family");
}

TEST(preload_config, keeps_its_limits) {
  const auto json = with_models(R"("vaes":[{"vae_name":"v"}],"checkpoints":[{"name":"c"}])");
  EXPECT_EQ(refusal(json, {.max_config_bytes = json.size(), .max_entries = 2, .max_depth = 4}).what, "accepted");
  EXPECT_NE(refusal(json, {.max_config_bytes = 10}).what.find("more than the 10 allowed"), std::string::npos);
  EXPECT_EQ(refusal(json, {.max_entries = 1}).where, "/models/vaes");
  EXPECT_NE(refusal(json, {.max_depth = 3}).what.find("nest more than 3"), std::string::npos);
}

TEST(preload_config, reads_the_worked_example_without_a_warning) {
  std::ifstream file(LONGSHORE_SOURCE_DIR "/preload_config.json");
  const std::string json{std::istreambuf_iterator<char>(file), {}};
  const auto config = good(json);
  EXPECT_TRUE(config.warnings.empty());
  std::vector<std::string> enabled;
  for (const auto& entry : config.entries)
    if (entry.enabled)
      enabled.push_back(entry.key);
  EXPECT_EQ(enabled, (std::vector<std::string>{"sd15-tiny.safetensors", "clip_l.safetensors_stable_diffusion_default",
                                               "sd15-tiny-unet.safetensors_default", "taesd.safetensors"}));
  EXPECT_EQ(config.entries.size(), 5u);
}

RC_GTEST_PROP(preload_config_property, a_damaged_byte_is_refused_or_keeps_the_promises, ()) {
  std::string json = full_config;
  json[*rc::gen::inRange<size_t>(0, json.size())] = *rc::gen::arbitrary<char>();
  const auto config = parse_preload_config(json, "p.json");
  if (!config) {
    RC_ASSERT(config.error().code == errc::bad_config && config.error().path == "p.json");
    return;
  }
  for (const auto& entry : config->entries)
    RC_ASSERT(!entry.key.empty() && !entry.files.empty() && entry.files.size() <= 3 && !entry.pointer.empty());
}
