// How fast the whole model runs: prefill of a prompt, and decode for several sequences at once,
// through LlamaModel::Forward over paged keys and values. Each figure stands beside this host's
// measured limits.
//
//   bazel run -c opt //bench:decode_bench -- --model FILE [--path auto] [--threads N] [--json]
//
// Prefill: the least of --rounds + 1 rounds. Decode of S sequences: each has a context of --context
// tokens (prefilled, not timed), then --steps steps of S rows are timed, --rounds times over; the
// lower quartile of the steps counts. Both are chosen so that what else runs on the host disturbs
// little; compare_llama_cpp.py measures the peer in the same way.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "base/check.h"
#include "base/rng.h"
#include "bench/host_probe.h"
#include "kernels/backend_factory.h"
#include "model/llama.h"
#include "model/open_model.h"
#include "nlohmann/json.hpp"

namespace ebb::bench {
namespace {

struct Options {
  std::string model;
  std::string path = "auto";
  int threads = 2;
  int32_t prefill_tokens = 512;
  int32_t context_tokens = 128;
  int32_t steps = 32;
  int rounds = 3;
  std::vector<int32_t> sequences = {1, 4, 16, 32};
  bool probe = true;
  bool json = false;
};

int Number(const std::string& flag, const std::string& text) {
  int value = 0;
  if (!absl::SimpleAtoi(text, &value) || value < 1 || value > (1 << 20)) {
    std::cerr << flag << " " << text << " is not a number from 1 to 1048576\n";
    std::exit(64);
  }
  return value;
}

Options Parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string flag = argv[i];
    if (flag == "--json") {
      options.json = true;
      continue;
    }
    if (flag == "--no-probe") {
      options.probe = false;
      continue;
    }
    if (i + 1 == argc) {
      std::cerr << "no value for " << flag << "\n";
      std::exit(64);
    }
    const std::string value = argv[++i];
    if (flag == "--model") {
      options.model = value;
    } else if (flag == "--path") {
      options.path = value;
    } else if (flag == "--threads") {
      options.threads = Number(flag, value);
    } else if (flag == "--prefill") {
      options.prefill_tokens = Number(flag, value);
    } else if (flag == "--context") {
      options.context_tokens = Number(flag, value);
    } else if (flag == "--steps") {
      options.steps = Number(flag, value);
    } else if (flag == "--rounds") {
      options.rounds = Number(flag, value);
    } else if (flag == "--sequences") {
      options.sequences.clear();
      for (const auto part : absl::StrSplit(value, ',')) {
        options.sequences.push_back(Number(flag, std::string(part)));
      }
    } else {
      std::cerr << "unknown flag " << flag << "\n";
      std::exit(64);
    }
  }
  if (options.model.empty()) {
    std::cerr << "--model FILE (a GGUF file) is needed\n";
    std::exit(64);
  }
  return options;
}

template <typename T>
T ValueOrExit(absl::StatusOr<T> value) {
  if (!value.ok()) {
    std::cerr << value.status() << "\n";
    std::exit(65);
  }
  return std::move(value).value();
}

struct FreeDeleter {
  void operator()(uint8_t* p) const { std::free(p); }
};
using AlignedBytes = std::unique_ptr<uint8_t, FreeDeleter>;

AlignedBytes Allocate(size_t bytes) {
  const size_t rounded = (bytes + 63) / 64 * 64;
  auto* p = static_cast<uint8_t*>(std::aligned_alloc(64, rounded));
  CHECK(p != nullptr);
  std::memset(p, 0, rounded);
  return AlignedBytes(p);
}

// Paged memory for some sequences of the same length; blocks of all sequences interleaved.
class Memory {
 public:
  Memory(const model::ModelConfig& config, int32_t sequences, int32_t tokens) {
    kv_.dtype = kernels::DType::kF16;
    kv_.layers = config.layers;
    kv_.kv_heads = config.kv_heads;
    kv_.head_dim = config.head_dim;
    kv_.block_tokens = 16;
    kv_.blocks_per_page = 16;
    kv_.layer_block_bytes =
        kernels::PagedKv::LayerBlockBytes(kv_.dtype, kv_.kv_heads, kv_.head_dim, kv_.block_tokens);
    const int32_t blocks = (tokens + kv_.block_tokens - 1) / kv_.block_tokens;
    const int32_t pages = (blocks * sequences + kv_.blocks_per_page - 1) / kv_.blocks_per_page;
    const int32_t indices_per_page = kv_.layers * kv_.blocks_per_page;
    bytes_ = Allocate(static_cast<size_t>(pages) * static_cast<size_t>(indices_per_page) *
                      static_cast<size_t>(kv_.layer_block_bytes));
    kv_.base = bytes_.get();
    tables_.resize(static_cast<size_t>(sequences));
    for (int32_t b = 0; b < blocks * sequences; ++b) {
      tables_[static_cast<size_t>(b % sequences)].push_back(
          b / kv_.blocks_per_page * indices_per_page + b % kv_.blocks_per_page);
    }
  }
  const kernels::PagedKv& kv() const { return kv_; }
  const int32_t* table(int32_t sequence) const {
    return tables_[static_cast<size_t>(sequence)].data();
  }

 private:
  kernels::PagedKv kv_;
  AlignedBytes bytes_;
  std::vector<std::vector<int32_t>> tables_;
};

class Runner {
 public:
  Runner(const model::LlamaModel* model, int32_t row_count_max, int32_t logits_max)
      : model_(model),
        workspace_bytes_(model->WorkspaceBytes(row_count_max, logits_max)),
        workspace_(Allocate(workspace_bytes_)) {}

  // Seconds of one prefill of one sequence, logits of its last row.
  double Prefill(const Memory& memory, int32_t sequence, int32_t tokens) {
    std::vector<int32_t> ids;
    std::vector<int32_t> positions;
    std::vector<int32_t> sequence_of_row(static_cast<size_t>(tokens), 0);
    for (int32_t i = 0; i < tokens; ++i) {
      ids.push_back(TokenAt(sequence, i));
      positions.push_back(i);
    }
    const int32_t* tables[] = {memory.table(sequence)};
    const int32_t last = tokens - 1;
    return Run(kernels::Lane::kPrefill, memory, ids, positions, sequence_of_row, tables,
               {&last, 1});
  }

  // Seconds of one step of one row for each sequence.
  double Decode(const Memory& memory, int32_t sequences, int32_t position) {
    std::vector<int32_t> ids;
    std::vector<int32_t> positions(static_cast<size_t>(sequences), position);
    std::vector<int32_t> rows;
    std::vector<const int32_t*> tables;
    for (int32_t s = 0; s < sequences; ++s) {
      ids.push_back(TokenAt(s, position));
      rows.push_back(s);
      tables.push_back(memory.table(s));
    }
    return Run(kernels::Lane::kDecode, memory, ids, positions, rows, tables, rows);
  }

 private:
  int32_t TokenAt(int32_t sequence, int32_t position) const {
    return static_cast<int32_t>(
        base::RandomBits(static_cast<uint64_t>(sequence), static_cast<uint64_t>(position)) %
        static_cast<uint64_t>(model_->config().vocab));
  }

  double Run(kernels::Lane lane, const Memory& memory, const std::vector<int32_t>& ids,
             const std::vector<int32_t>& positions, const std::vector<int32_t>& sequence_of_row,
             absl::Span<const int32_t* const> tables, absl::Span<const int32_t> logits_rows) {
    model::ForwardInput input;
    input.lane = lane;
    input.tokens = ids;
    input.rows.row_count = static_cast<int32_t>(ids.size());
    input.rows.sequence_count = static_cast<int32_t>(tables.size());
    input.rows.positions = positions.data();
    input.rows.sequence_of_row = sequence_of_row.data();
    input.rows.tables = tables.data();
    input.kv = memory.kv();
    input.logits_rows = logits_rows;
    input.workspace = {workspace_.get(), workspace_bytes_};
    const auto begin = std::chrono::steady_clock::now();
    CHECK(model_->Forward(input).ok());
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  }

  const model::LlamaModel* const model_;
  const size_t workspace_bytes_;
  AlignedBytes workspace_;
};

struct Result {
  std::string name;
  double tokens_per_s = 0;
  double bytes_per_step = 0;  // Weights and keys and values that a step must read.
  double macs_per_step = 0;   // Of the matrices.
  double seconds_per_step = 0;
};

double LayerMacs(const model::ModelConfig& config) {
  const double q_width = double{1} * config.heads * config.head_dim;
  const double kv_width = double{1} * config.kv_heads * config.head_dim;
  return config.layers * config.width *
         (2 * q_width + 2 * kv_width + 3.0 * static_cast<double>(config.ffn_width));
}

Result PrefillResult(const model::LlamaModel& model, const Options& options) {
  const model::ModelConfig& config = model.config();
  const Memory memory(config, 1, options.prefill_tokens);
  Runner runner(&model, options.prefill_tokens, 1);
  double best = std::numeric_limits<double>::infinity();
  for (int i = 0; i <= options.rounds; ++i) {
    best = std::min(best, runner.Prefill(memory, 0, options.prefill_tokens));
  }
  Result result;
  result.name = "prefill " + std::to_string(options.prefill_tokens);
  result.tokens_per_s = options.prefill_tokens / best;
  result.seconds_per_step = best;
  result.bytes_per_step = static_cast<double>(model.weight_bytes());
  result.macs_per_step =
      LayerMacs(config) * options.prefill_tokens + static_cast<double>(config.width) * config.vocab;
  return result;
}

Result DecodeResult(const model::LlamaModel& model, const Options& options, int32_t sequences) {
  const model::ModelConfig& config = model.config();
  const Memory memory(config, sequences, options.context_tokens + options.steps);
  Runner runner(&model, std::max(options.context_tokens, sequences), sequences);
  for (int32_t s = 0; s < sequences; ++s) {
    runner.Prefill(memory, s, options.context_tokens);
  }
  std::vector<double> steps;
  for (int i = 0; i < options.rounds; ++i) {
    for (int32_t t = 0; t < options.steps; ++t) {
      steps.push_back(runner.Decode(memory, sequences, options.context_tokens + t));
    }
  }
  std::sort(steps.begin(), steps.end());
  const double quartile = steps[steps.size() / 4];
  Result result;
  result.name = "decode " + std::to_string(sequences);
  result.tokens_per_s = sequences / quartile;
  result.seconds_per_step = quartile;
  const double kv_bytes_per_token = 2.0 * 2 * config.layers * config.kv_heads * config.head_dim;
  result.bytes_per_step =
      static_cast<double>(model.weight_bytes()) +
      sequences * kv_bytes_per_token * (options.context_tokens + options.steps / 2.0);
  result.macs_per_step =
      sequences * (LayerMacs(config) + static_cast<double>(config.width) * config.vocab);
  return result;
}

void Print(const Options& options, const HostLimits& host, const char* path,
           const std::vector<Result>& results) {
  if (options.json) {
    nlohmann::ordered_json json;
    json["path"] = path;
    json["threads"] = options.threads;
    json["read_gb_per_s"] = host.read_gb_per_s;
    json["int8_gmac_per_s"] = host.int8_gmac_per_s;
    for (const Result& result : results) {
      json["results"][result.name] = {
          {"tokens_per_s", result.tokens_per_s},
          {"gb_per_s", result.bytes_per_step / result.seconds_per_step / 1e9},
          {"gmac_per_s", result.macs_per_step / result.seconds_per_step / 1e9}};
    }
    std::cout << json.dump() << "\n";
    return;
  }
  std::printf("path %s, %d threads; read %.1f GB/s, %s %.0f GMAC/s\n", path, options.threads,
              host.read_gb_per_s, host.int8_instruction, host.int8_gmac_per_s);
  std::printf("%-14s %12s %10s %8s %8s %8s %8s\n", "", "tokens/s", "ms/step", "GB/s", "of read",
              "GMAC/s", "of peak");
  for (const Result& result : results) {
    const double gb = result.bytes_per_step / result.seconds_per_step / 1e9;
    const double gmac = result.macs_per_step / result.seconds_per_step / 1e9;
    std::printf("%-14s %12.1f %10.3f %8.1f %7.0f%% %8.0f %7.0f%%\n", result.name.c_str(),
                result.tokens_per_s, result.seconds_per_step * 1e3, gb,
                options.probe ? gb / host.read_gb_per_s * 100 : 0, gmac,
                options.probe ? gmac / host.int8_gmac_per_s * 100 : 0);
  }
}

int Main(int argc, char** argv) {
  const Options options = Parse(argc, argv);
  const auto backend = ValueOrExit(kernels::MakeCpuBackend(options.path, options.threads));
  const auto opened = ValueOrExit(model::OpenModel(options.model));
  const auto model = ValueOrExit(model::LlamaModel::Load(*opened.weights, backend.get()));
  HostLimits host;
  if (options.probe) host = ProbeHost(options.threads);
  std::vector<Result> results = {PrefillResult(*model, options)};
  for (const int32_t sequences : options.sequences) {
    results.push_back(DecodeResult(*model, options, sequences));
  }
  Print(options, host, std::string(backend->name()).c_str(), results);
  return 0;
}

}  // namespace
}  // namespace ebb::bench

int main(int argc, char** argv) { return ebb::bench::Main(argc, argv); }
