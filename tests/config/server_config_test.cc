#include "config/server_config.h"

#include <cstdlib>
#include <random>
#include <set>

#include "base/rng.h"
#include "config/settings.h"
#include "gtest/gtest.h"

namespace ebb::config {
namespace {

// The seed of a random test: from the environment to replay one, else fresh.
uint64_t TestSeed() {
  const char* given = std::getenv("SEED");
  const uint64_t seed =
      given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device()();
  std::printf("SEED=%llu\n", static_cast<unsigned long long>(seed));
  return seed;
}

TEST(ServerConfigTest, EmptyFileGivesTheDefaults) {
  const absl::StatusOr<ServerConfig> config = Parse("{}", "f.json");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(Print(*config), Print(ServerConfig()));
  EXPECT_TRUE(Validate(ServerConfig()).ok()) << Validate(ServerConfig());
}

TEST(ServerConfigTest, ValuesArriveInTheirMembers) {
  const absl::StatusOr<ServerConfig> config = Parse(R"({ // with comments
    "model": {"path": "/models/a b.gguf"},
    "kernels": {"path": "avx2", "threads": 2},
    "kv": {"dtype": "bf16", "block_tokens": 32},
    "memory": {"limit_bytes": 3000000000, "idle_ms": 1500, "static_estimator": "by_usage"},
    "scheduler": {"queues": "one"},
    "decode_window": {"steps": 7 /* few */},
    "log": {"windows": false}
  })",
                                                    "f.json");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->model.path, "/models/a b.gguf");
  EXPECT_EQ(config->kernels.path, KernelPath::kAvx2);
  EXPECT_EQ(config->kernels.threads, 2);
  EXPECT_EQ(config->kv.dtype, KvDtype::kBf16);
  EXPECT_EQ(config->kv.block_tokens, 32);
  EXPECT_EQ(config->memory.limit_bytes, 3'000'000'000);
  EXPECT_EQ(config->memory.idle, absl::Milliseconds(1500));
  EXPECT_EQ(config->memory.static_estimator, StaticEstimator::kByUsage);
  EXPECT_EQ(config->scheduler.queues, Queues::kOne);
  EXPECT_EQ(config->decode_window.steps, 7);
  EXPECT_FALSE(config->log.windows);
  EXPECT_TRUE(config->log.requests);
}

struct BadCase {
  const char* text;
  const char* error;
};

// The exact words, since they are what a user has to go by.
const BadCase kBadCases[] = {
    // Unknown keys.
    {"{\n \"memory\": {\n  \"limt_bytes\": 5}}",
     "f.json:3: memory.limt_bytes: unknown key; did you mean memory.limit_bytes?"},
    {"{\"memry\": {}}", "f.json:1: memry: unknown key; did you mean memory?"},
    {"{\"idle_ms\": 5}", "f.json:1: idle_ms: unknown key; did you mean memory.idle_ms?"},
    {"{\"kv\": {\"threads\": 5}}",
     "f.json:1: kv.threads: unknown key; did you mean kernels.threads?"},
    {"{\"kv\": {\"quite_different\": 5}}",
     "f.json:1: kv.quite_different: unknown key; keys of kv: dtype, block_tokens"},
    {"{\"quite_different\": {}}",
     "f.json:1: quite_different: unknown key; sections: model, server, security, device, kernels, "
     "cuda, kv, "
     "memory, prefix_cache, "
     "sharing, prefill_window, decode_window, scheduler, requests, quotas, log, metrics"},
    {"{\"memory.idle_ms\": 5}",
     "f.json:1: memory.idle_ms: unknown key; write it as \"memory\": {\"idle_ms\": ...}"},
    {"{\"kv\": {\"dtype\": \"f16\"},\n\"kv\": {}}",
     "f.json:2: \"kv\" appears twice (first in line 1); remove one"},
    // Wrong types.
    {"[]", "f.json:1: must be an object of sections, not a list"},
    {"5", "f.json:1: must be an object of sections, not a whole number"},
    {"{\"kv\": 5}", "f.json:1: kv: must be an object of settings; not 5"},
    {"{\"kernels\": {\"threads\": true}}",
     "f.json:1: kernels.threads: must be a whole number, 0 to 1024; not true"},
    {"{\"kernels\": {\"threads\": 1.5}}",
     "f.json:1: kernels.threads: must be a whole number, 0 to 1024; not 1.5"},
    {"{\"kernels\": {\"threads\": 1e2}}",
     "f.json:1: kernels.threads: must be a whole number, 0 to 1024; not 1e2"},
    {"{\"kernels\": {\"threads\": \"2\"}}",
     "f.json:1: kernels.threads: must be a whole number, 0 to 1024; not \"2\""},
    {"{\"kernels\": {\"threads\": null}}",
     "f.json:1: kernels.threads: must be a whole number, 0 to 1024; not null"},
    {"{\"kernels\": {\"threads\": [2]}}",
     "f.json:1: kernels.threads: must be a whole number, 0 to 1024; not a list"},
    {"{\"kernels\": {\"threads\": {\"a\": 1}}}",
     "f.json:1: kernels.threads: must be a whole number, 0 to 1024; not an object"},
    {"{\"log\": {\"windows\": 1}}", "f.json:1: log.windows: must be true or false; not 1"},
    {"{\"model\": {\"path\": 7}}",
     "f.json:1: model.path: must be a string of 0 to 4095 bytes; not 7"},
    // Ranges; numbers that a cast would make harmless.
    {"{\"kernels\": {\n\"threads\":\n4294967297}}",
     "f.json:2: kernels.threads: 4294967297 is out of range; must be 0 to 1024"},
    {"{\"kernels\": {\"threads\": -1}}",
     "f.json:1: kernels.threads: -1 is out of range; must be 0 to 1024"},
    {"{\"memory\": {\"limit_bytes\": 18446744073709551617}}",
     "f.json:1: memory.limit_bytes: 18446744073709551617 is out of range; must be 1 to "
     "1125899906842624"},
    {"{\"memory\": {\"limit_bytes\": 18446744073709551615}}",
     "f.json:1: memory.limit_bytes: 18446744073709551615 is out of range; must be 1 to "
     "1125899906842624"},
    {"{\"decode_window\": {\"min_ms\": 0}}",
     "f.json:1: decode_window.min_ms: 0 is out of range; must be 1 to 86400000"},
    {"{\"kernels\": {\"path\": \"fast\"}}",
     "f.json:1: kernels.path: must be one of auto, reference, avx2, avx512, amx; not \"fast\""},
    {"{\"model\": {\"path\": \"a\\u0000b\"}}",
     "f.json:1: model.path: holds a control character; remove it"},
    // Impossible combinations: the line of the key that the file sets.
    {"{\n\"memory\": {\n\"limit_bytes\": 5000000000}}",
     "f.json:3: memory.limit_bytes: 5000000000 is above memory.ceiling_bytes (4294967296); lower "
     "it "
     "or raise memory.ceiling_bytes"},
    {"{\n\"prefill_window\": {\n\"max_ms\": 20}}",
     "f.json:3: prefill_window.min_ms: 50 is above prefill_window.max_ms (20); lower it or raise "
     "prefill_window.max_ms"},
    {"{\"decode_window\": {\"min_ms\": 3000}}",
     "f.json:1: decode_window.min_ms: 3000 is above decode_window.max_ms (2000); lower it or raise "
     "decode_window.max_ms"},
    {"{\"kv\": {\"block_tokens\": 24}}", "f.json:1: kv.block_tokens: 24 is not a power of two"},
    {"{\"server\": {\"listen\": \"localhost\"}}",
     "f.json:1: server.listen: must be ADDRESS:PORT, such as 127.0.0.1:50051 or [::1]:0"},
    {"{\"server\": {\"http_listen\": \"yes\"}}",
     "f.json:1: server.http_listen: must be ADDRESS:PORT, such as 127.0.0.1:50051 or [::1]:0; or "
     "auto, or off"},
    {"{\"server\": {\"http_hosts\": \"ebb:8000\"}}",
     "f.json:1: server.http_hosts: must be names without ports, separated by commas, such as "
     "ebb,ebb.example.com; or *"},
    {"{\"server\": {\"control_listen\": \"yes\"}}",
     "f.json:1: server.control_listen: must be ADDRESS:PORT, such as 127.0.0.1:50051 or [::1]:0; "
     "or "
     "unix:PATH"},
    {"{\"server\": {\"listen\": \"::1:5\"}}",
     "f.json:1: server.listen: must be ADDRESS:PORT, such as 127.0.0.1:50051 or [::1]:0"},
    {"{\"server\":\n{\"listen\": \"example.com:1\"}}",
     "f.json:2: server.listen: \"example.com\" is not an address; write it in numbers, such as "
     "127.0.0.1, 0.0.0.0 or [::1]"},
    {"{\"server\": {\"listen\": \"[127.0.0.1]:1\"}}",
     "f.json:1: server.listen: \"127.0.0.1\" is not an address; write it in numbers, such as "
     "127.0.0.1, 0.0.0.0 or [::1]"},
    {"{\"server\": {\"listen\": \"h:70000\"}}",
     "f.json:1: server.listen: port 70000 is out of range; must be 0 to 65535"},
    {"{\"device\": {\"kind\": \"cuda\"},\n\"kv\": {\"dtype\": \"f16\"}}",
     "f.json:2: kv.dtype: a CUDA device keeps keys and values as bf16; set kv.dtype to auto or "
     "bf16"},
    {"{\"security\":\n{\"tls_certificate_file\": \"crt\"}}",
     "f.json:2: security.tls_certificate_file: a certificate and its key are set together; set "
     "both, "
     "or neither"},
    {"{\"security\":\n{\"tokens_file\": \"t\", \"control_tokens_file\": \"t\"}}",
     "f.json:2: security.control_tokens_file: users' tokens do not open Control; name a file of "
     "its "
     "own"},
    {"{\"security\": {\"tokens_file\": \"t\"},\n\"server\": {\"control_listen\": \"[::1]:0\"}}",
     "f.json:2: server.control_listen: users' tokens do not open Control; name a file of "
     "operators' "
     "tokens with security.control_tokens_file"},
    {"{\"quotas\":\n{\"tokens_per_minute\": 5}}",
     "f.json:2: quotas.tokens_per_minute: is counted by token; name a file of them with "
     "security.tokens_file"},
    {"{\"security\":\n{\"tls_client_ca_file\": \"ca\"}}",
     "f.json:2: security.tls_client_ca_file: asks for TLS; set security.tls_certificate_file and "
     "security.tls_key_file too"},
    // All mistakes at once.
    {"{\"kv\": {\"dtype\": 1,\n\"x\": 2}}",
     "f.json:1: kv.dtype: must be one of auto, f16, bf16, f32; not 1\n"
     "f.json:2: kv.x: unknown key; keys of kv: dtype, block_tokens"},
};

TEST(ServerConfigTest, SaysWhatIsWrongWhereAndHowToMendIt) {
  for (const BadCase& bad : kBadCases) {
    const absl::StatusOr<ServerConfig> config = Parse(bad.text, "f.json");
    ASSERT_FALSE(config.ok()) << bad.text;
    EXPECT_EQ(config.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(std::string(config.status().message()), bad.error) << bad.text;
  }
}

TEST(ServerConfigTest, MissingFileAndDirectory) {
  const absl::Status missing = Load("no/such.json").status();
  EXPECT_EQ(missing.code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(
      missing.message(),
      "no/such.json: cannot be opened: No such file or directory; name an existing file, such "
      "as configs/cpu.json");
  const absl::Status directory = Load("/").status();
  EXPECT_EQ(directory.message(), "/: cannot be read; is it a file?");
}

TEST(ServerConfigTest, SetChangesOneValue) {
  ServerConfig config;
  EXPECT_TRUE(ApplySet(&config, "memory.idle_ms=250").ok());
  EXPECT_EQ(config.memory.idle, absl::Milliseconds(250));
  EXPECT_TRUE(ApplySet(&config, "model.path=a=b.gguf").ok());
  EXPECT_EQ(config.model.path, "a=b.gguf");
  EXPECT_TRUE(ApplySet(&config, "model.name=7").ok());
  EXPECT_EQ(config.model.name, "7");
  EXPECT_TRUE(ApplySet(&config, "model.path=").ok());
  EXPECT_EQ(config.model.path, "");
  EXPECT_TRUE(ApplySet(&config, "kernels.path=reference").ok());
  EXPECT_EQ(config.kernels.path, KernelPath::kReference);
  EXPECT_TRUE(ApplySet(&config, "log.windows=false").ok());
  EXPECT_FALSE(config.log.windows);
}

TEST(ServerConfigTest, SetRefusesAndChangesNothing) {
  const BadCase cases[] = {
      {"memory.idle_ms", "must be SECTION.NAME=VALUE, such as memory.idle_ms=5000"},
      {"memory.idle=5", "unknown key; did you mean memory.idle_ms?"},
      {"idle_ms=5", "unknown key; did you mean memory.idle_ms?"},
      {"=",
       "unknown key; sections: model, server, security, device, kernels, cuda, kv, memory, "
       "prefix_cache, "
       "sharing, "
       "prefill_window, "
       "decode_window, scheduler, requests, quotas, log, metrics"},
      {"kv=5", "unknown key; keys of kv: dtype, block_tokens"},
      {"memory.idle_ms=", "must be a whole number, 1 to 86400000; not \"\""},
      {"memory.idle_ms=1.5", "must be a whole number, 1 to 86400000; not \"1.5\""},
      {"memory.idle_ms=0x10", "must be a whole number, 1 to 86400000; not \"0x10\""},
      {"memory.idle_ms= 5", "must be a whole number, 1 to 86400000; not \" 5\""},
      {"memory.idle_ms=-5", "-5 is out of range; must be 1 to 86400000"},
      {"log.windows=1", "must be true or false; not 1"},
      {"kernels.path=true", "must be one of auto, reference, avx2, avx512, amx; not true"},
      {"model.path=\xff", "is not UTF-8, which JSON cannot hold"},
  };
  for (const BadCase& bad : cases) {
    ServerConfig config;
    const absl::Status status = ApplySet(&config, bad.text);
    EXPECT_EQ(std::string(status.message()), std::string("--set ") + bad.text + ": " + bad.error);
    EXPECT_EQ(Print(config), Print(ServerConfig())) << bad.text;
  }
}

TEST(ServerConfigTest, ValidateSeesWhatSetMadeImpossible) {
  ServerConfig config;
  ASSERT_TRUE(ApplySet(&config, "memory.ceiling_bytes=1000").ok());
  EXPECT_EQ(
      Validate(config).message(),
      "memory.limit_bytes: 1073741824 is above memory.ceiling_bytes (1000); lower it or raise "
      "memory.ceiling_bytes");
  config = ServerConfig();
  config.kernels.threads = -3;
  EXPECT_EQ(Validate(config).message(), "kernels.threads: -3 is out of range; must be 0 to 1024");
}

// ---- The table

TEST(SettingsTest, KeysAreUniqueSectionsExistDefaultsAreInRange) {
  std::set<absl::string_view> keys;
  absl::string_view last_section;
  std::set<absl::string_view> sections;
  for (const Setting& setting : AllSettings()) {
    EXPECT_TRUE(keys.insert(setting.key).second) << setting.key;
    EXPECT_NE(FindSection(setting.section()), nullptr) << setting.key;
    if (setting.section() != last_section) {
      EXPECT_TRUE(sections.insert(setting.section()).second) << setting.key << " stands apart";
      last_section = setting.section();
    }
    EXPECT_FALSE(setting.doc.empty()) << setting.key;
    EXPECT_EQ(RangeProblem(setting, ServerConfig()), "") << setting.key;
    const bool is_time = std::holds_alternative<Member<absl::Duration>>(setting.member);
    const bool ends_in_ms =
        setting.key.size() > 3 && setting.key.substr(setting.key.size() - 3) == "_ms";
    EXPECT_EQ(is_time, ends_in_ms) << setting.key;
  }
  EXPECT_EQ(sections.size(), AllSections().size());
}

// Writes a random legal value of its type into each setting, through --set's text form.
std::string RandomValue(const Setting& setting, base::Rng* rng) {
  if (std::holds_alternative<Member<bool>>(setting.member))
    return rng->Chance(0.5) ? "true" : "false";
  if (const auto* names = std::get_if<EnumMember>(&setting.member)) {
    return std::string(names->names[static_cast<size_t>(
        rng->Between(0, static_cast<int64_t>(names->names.size()) - 1))]);
  }
  if (std::holds_alternative<Member<std::string>>(setting.member)) {
    if (setting.key == "server.listen" || setting.key == "server.http_listen" ||
        setting.key == "server.control_listen")
      return "127.0.0." + std::to_string(rng->Between(0, 99)) + ":0";
    std::string text(static_cast<size_t>(setting.min), 'a');
    const char* const pieces[] = {"a", "\"", "\\", "/", " ", "\u00e9", "\u4e2d", "//", "{"};
    for (int64_t i = rng->Between(0, 8); i > 0; --i) text += pieces[rng->Between(0, 8)];
    return text;
  }
  return std::to_string(rng->Between(setting.min, setting.max));
}

TEST(ServerConfigTest, PrintedConfigsLoadToTheSameValues) {
  base::Rng rng(TestSeed());
  int valid = 0;
  for (int round = 0; round < 500; ++round) {
    ServerConfig config;
    for (const Setting& setting : AllSettings()) {
      if (rng.Chance(0.7)) continue;
      const std::string assignment = std::string(setting.key) + "=" + RandomValue(setting, &rng);
      const absl::Status status = ApplySet(&config, assignment);
      ASSERT_TRUE(status.ok()) << status;
    }
    const absl::StatusOr<ServerConfig> loaded = Parse(Print(config), "printed");
    // What Validate refuses, loading refuses, and nothing else.
    ASSERT_EQ(loaded.ok(), Validate(config).ok()) << loaded.status() << Print(config);
    if (!loaded.ok()) continue;
    ++valid;
    ASSERT_EQ(Print(*loaded), Print(config));
  }
  EXPECT_GT(valid, 10);
}

// Broken files end in an error or a valid config, never in a crash.
TEST(ServerConfigTest, MutatedFilesDoNotCrash) {
  base::Rng rng(TestSeed());
  const std::string original = Print(ServerConfig());
  int accepted = 0;
  for (int round = 0; round < 3000; ++round) {
    std::string text = original;
    for (int64_t i = rng.Between(1, 4); i > 0 && !text.empty(); --i) {
      const size_t at = static_cast<size_t>(rng.Between(0, static_cast<int64_t>(text.size()) - 1));
      switch (rng.Between(0, 3)) {
        case 0:
          text[at] = static_cast<char>(rng.Between(0, 255));
          break;
        case 1:
          text.erase(at, static_cast<size_t>(rng.Between(1, 20)));
          break;
        case 2:
          text.insert(at, text.substr(at / 2, static_cast<size_t>(rng.Between(1, 40))));
          break;
        default:
          text.insert(at, std::string(static_cast<size_t>(rng.Between(1, 3)),
                                      "{}[]\",:-9e"[rng.Between(0, 9)]));
      }
    }
    const absl::StatusOr<ServerConfig> config = Parse(text, "f.json");
    if (!config.ok()) {
      ASSERT_EQ(config.status().message().substr(0, 7), "f.json:") << config.status();
      continue;
    }
    ++accepted;
    ASSERT_TRUE(Validate(*config).ok());
  }
  EXPECT_GT(accepted, 0);
}

}  // namespace
}  // namespace ebb::config
