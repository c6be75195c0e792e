// ServerConfig: every setting of a server, as plain values with their defaults.
//
//   file.json ──> Load ──> ServerConfig ──> ApplySet (--set a.b=value) ──> Validate ──> the server
//                               └────────> Print ──> JSON that Load reads to the same values
//
// Each setting is declared twice and no more: a member here (its default) and a row of the table in
// settings.cc (its key, range and one line of documentation). Loading, checking, printing and the
// documentation all come from that table.
//
// Keys are `section.name`. A duration's key ends in _ms and holds whole milliseconds.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace ebb::config {

// The enumerators stand in the order of their names in settings.cc.
enum class KernelPath { kAuto, kReference, kAvx2, kAvx512, kAmx };
enum class KvDtype { kAuto, kF16, kBf16, kF32 };
enum class DeviceKind { kAuto, kCpu, kCuda };
enum class PageEdits { kJointBoundary, kAnyTime };
enum class StaticEstimator { kByTokens, kByUsage };
enum class Queues { kSeparate, kOne };

struct ModelConfig {
  std::string path;  // See model/open_model.h. Empty: the command line must give it.
  std::string name;  // What clients see. Empty: the file's name without its ending.
};

struct ServerSection {
  std::string listen = "127.0.0.1:50051";
  std::string http_listen = "auto";
  std::string http_hosts;      // Empty: any beyond the loopback, none but localhost on it.
  std::string control_listen;  // Empty: Control is served where everything is.
  absl::Duration drain_grace = absl::Seconds(30);
  absl::Duration drain_delay = absl::ZeroDuration();
  absl::Duration stall = absl::Seconds(60);
  int64_t message_bytes_max = 4 << 20;
};

struct SecuritySection {
  std::string tokens_file;          // Empty: everybody may use the server.
  std::string control_tokens_file;  // Empty: operators have no tokens.
  bool allow_open = false;
  // Both or none; empty: nothing is encrypted.
  std::string tls_certificate_file;
  std::string tls_key_file;
  std::string tls_client_ca_file;  // Empty: clients need no certificate.
};

struct DeviceConfig {
  DeviceKind kind = DeviceKind::kAuto;
  int32_t index = 0;
};

struct KernelsConfig {
  KernelPath path = KernelPath::kAuto;
  int32_t threads = 0;  // 0: one for each processor that this process may use.
};

struct CudaConfig {
  std::string library;  // Empty: libebb_cuda.so beside the executable, or where the loader looks.
  PageEdits page_edits = PageEdits::kJointBoundary;
  int32_t prefill_sm_percent = 88;
  bool batch_invariant = false;
  bool hopper = false;
};

struct KvConfig {
  KvDtype dtype = KvDtype::kAuto;
  int32_t block_tokens = 0;  // 0: chosen from the model's sizes.
};

struct MemoryConfig {
  int64_t limit_bytes = int64_t{1} << 30;
  int64_t ceiling_bytes = int64_t{4} << 30;
  int64_t headroom_bytes = int64_t{256} << 20;
  int64_t keep_bytes = 0;
  absl::Duration idle = absl::Seconds(5);
  int32_t slack_pages = 0;
  int32_t prepared_pages = 0;
  int32_t shrink_windows = 4;
  absl::Duration shrink_after = absl::Milliseconds(200);
  int32_t shrink_pages_max = 16;
  int32_t compact_above_percent = 110;
  int64_t compact_bytes_max = int64_t{32} << 20;
  int64_t swap_bytes_max = 0;
  std::string swap_directory = "/var/tmp";
  StaticEstimator static_estimator = StaticEstimator::kByTokens;
};

struct PrefixCacheConfig {
  bool enabled = true;
  absl::Duration idle = absl::Seconds(60);
  int64_t floor_bytes = 0;
  absl::Duration ahead = absl::Seconds(1);
};

struct SharingConfig {
  bool enabled = true;
  std::string path = "/dev/shm";
  int64_t capacity_bytes = 0;  // 0: what the device can give.
  int64_t floor_bytes = 0;
  int32_t weight = 1;
  absl::Duration grace = absl::Seconds(5);
};

struct PrefillWindowConfig {
  absl::Duration min = absl::Milliseconds(50);
  absl::Duration max = absl::Milliseconds(500);
};

struct DecodeWindowConfig {
  int32_t steps = 16;
  absl::Duration min = absl::Milliseconds(50);
  absl::Duration max = absl::Milliseconds(2000);
};

struct SchedulerConfig {
  Queues queues = Queues::kSeparate;
  int32_t queue_requests_max = 256;
  int32_t queue_prompt_tokens_max = 0;
  int32_t running_sequences_max = 64;
  int32_t chunk_tokens_max = 512;
  int32_t logits_rows_max = 64;
  absl::Duration max_gap = absl::Milliseconds(200);
  absl::Duration ageing = absl::Seconds(10);
  int32_t resume_immunity_tokens = 16;
  int32_t growth_prior_tokens = 256;
  int32_t growth_deviations_percent = 150;
  std::string lengths_file;  // Empty: what is learned of lengths ends with the process.
};

struct RequestsConfig {
  int32_t max_tokens_default = 256;
  int32_t logprobs_max = 20;
  int32_t stop_strings_max = 16;
  int32_t stop_string_bytes_max = 256;
  int32_t stop_token_ids_max = 64;
};

// Of each token. 0: none.
struct QuotasConfig {
  int64_t requests_per_minute = 0;
  int64_t tokens_per_minute = 0;
  int32_t concurrent_requests = 0;
};

struct LogConfig {
  bool windows = true;
  bool requests = true;
  absl::Duration stats = absl::Seconds(10);
  int32_t queue_lines_max = 8192;
};

struct MetricsConfig {
  bool vllm_aliases = false;
};

struct ServerConfig {
  ModelConfig model;
  ServerSection server;
  SecuritySection security;
  DeviceConfig device;
  KernelsConfig kernels;
  CudaConfig cuda;
  KvConfig kv;
  MemoryConfig memory;
  PrefixCacheConfig prefix_cache;
  SharingConfig sharing;
  PrefillWindowConfig prefill_window;
  DecodeWindowConfig decode_window;
  SchedulerConfig scheduler;
  RequestsConfig requests;
  QuotasConfig quotas;
  LogConfig log;
  MetricsConfig metrics;
};

// Reads a JSON file with // and /* */ comments; keys that it leaves out keep their defaults. Every
// problem found is one line of the error's message:
//   configs/cpu.json:7: memory.limt_bytes: unknown key; did you mean memory.limit_bytes?
// NOT_FOUND when there is no such file; INVALID_ARGUMENT for all that is wrong in it, an impossible
// combination of values included.
absl::StatusOr<ServerConfig> Load(const std::string& path);

// Load's work on text that is at hand; `source` stands for the file's name in errors.
absl::StatusOr<ServerConfig> Parse(absl::string_view text, absl::string_view source);

// Sets one value from "section.name=value"; a string's value stands without quotes.
// INVALID_ARGUMENT leaves `config` as it was. Only this value is checked: call Validate after the
// last change.
absl::Status ApplySet(ServerConfig* config, absl::string_view assignment);

// INVALID_ARGUMENT naming every value out of range and every impossible combination.
absl::Status Validate(const ServerConfig& config);

// All settings as JSON, defaults included; Load gives the same values again.
std::string Print(const ServerConfig& config);

// The reference of all settings as Markdown: one table for each section.
std::string Document();

// A setting's value as it is written in a config: "f16", "5000", "true".
// REQUIRES: `key` is a setting.
std::string ValueOf(const ServerConfig& config, absl::string_view key);

}  // namespace ebb::config
