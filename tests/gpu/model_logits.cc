// Writes a model's logits on a CUDA device for given tokens, to be compared with another
// implementation's (tools/gpu/check_models.py).
//
//   model_logits --library libebb_cuda.so --model DIR --tokens FILE --output FILE.npy
//                [--chunk 48] [--decode 3]
//
// DIR is a Hugging Face directory (config.json, *.safetensors). FILE has a line of token ids for
// each sequence. All but the last --decode tokens of a sequence are prefilled, --chunk rows at a
// time; the rest are decoded one by one, all sequences together. The output has a row of float32
// logits for each token, sequence after sequence.
#include <algorithm>
#include <cstdint>
#include <fstream>
#include <iostream>
#include <memory>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "bench/gpu/gpu_bench.h"
#include "bench/gpu/kv_pool.h"
#include "bench/gpu/step_data.h"
#include "model/hf_config.h"
#include "model/hf_files.h"
#include "model/hf_weights.h"
#include "model/llama_cuda.h"

namespace ebb::bench {
namespace {

constexpr int32_t kBlockTokens = 16;
// Each byte of fresh memory: a NaN in any format, so that a read of what was not written shows.
constexpr int32_t kPoison = 0xFF;

struct Options {
  GpuOptions gpu;
  std::string model;
  std::string tokens;
  std::string output;
  int32_t chunk = 48;
  int32_t decode = 3;
};

Options ParseOptions(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string flag = argv[i];
    if (flag == "--help" || i + 1 == argc) {
      std::cout << "model_logits --library PATH --model DIR --tokens FILE --output FILE.npy "
                   "[--chunk N] [--decode N]\n";
      std::exit(flag == "--help" ? 0 : 64);
    }
    const std::string value = argv[++i];
    int32_t number = 0;
    const bool is_number = absl::SimpleAtoi(value, &number) && number >= 1;
    if (flag == "--library") {
      options.gpu.library = value;
    } else if (flag == "--model") {
      options.model = value;
    } else if (flag == "--tokens") {
      options.tokens = value;
    } else if (flag == "--output") {
      options.output = value;
    } else if (flag == "--chunk" && is_number) {
      options.chunk = number;
    } else if (flag == "--decode" && is_number) {
      options.decode = number;
    } else {
      Die(absl::InvalidArgumentError(absl::StrCat("not understood: ", flag, " ", value)));
    }
  }
  return options;
}

using Sequences = std::vector<std::vector<int32_t>>;

Sequences ReadTokens(const std::string& path, int32_t vocab, int32_t decode) {
  std::ifstream file(path);
  if (!file) Die(absl::NotFoundError(absl::StrCat("cannot read ", path)));
  Sequences sequences;
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::vector<int32_t> tokens;
    for (int32_t id = 0; words >> id;) {
      if (id < 0 || id >= vocab) {
        Die(absl::OutOfRangeError(absl::StrCat("token ", id, " of a vocabulary of ", vocab)));
      }
      tokens.push_back(id);
    }
    if (static_cast<int32_t>(tokens.size()) <= decode) {
      Die(absl::InvalidArgumentError("a line has no more tokens than --decode"));
    }
    sequences.push_back(std::move(tokens));
  }
  if (sequences.empty()) Die(absl::InvalidArgumentError(absl::StrCat(path, " is empty")));
  return sequences;
}

class LogitsWriter {
 public:
  LogitsWriter(Gpu* gpu, const model::CudaLlama* model, const Options& options,
               const Sequences& sequences)
      : gpu_(gpu), model_(model), options_(options), sequences_(sequences) {
    const model::ModelConfig& config = model->config();
    size_t longest = 0;
    for (const auto& tokens : sequences) {
      row_begins_.push_back(total_rows_);
      total_rows_ += tokens.size();
      longest = std::max(longest, tokens.size());
    }
    logits_.resize(total_rows_ * static_cast<size_t>(config.vocab));
    const auto count = static_cast<int32_t>(sequences.size());
    const int32_t blocks = StepData::BlocksOf(1, static_cast<int32_t>(longest), kBlockTokens);
    KvPool::Options pool;
    pool.layers = config.layers;
    pool.kv_heads = config.kv_heads;
    pool.head_dim = config.head_dim;
    pool.block_tokens = kBlockTokens;
    pool.blocks = count * blocks;
    pool.elastic = true;
    pool_ = std::make_unique<KvPool>(gpu, pool);
    tables_ = pool_->TablesOf(count, blocks);
    gpu->Check(gpu->api().fill_bytes(gpu->stream(), pool_->kv().base, kPoison, pool_->bytes()));
    gpu->Synchronize();
  }

  void Compute() {
    for (size_t s = 0; s < sequences_.size(); ++s) Prefill(s);
    for (int32_t i = 0; i < options_.decode; ++i) Decode(i);
  }

  // NumPy's format, version 1.0: a text header padded to 64 bytes, then the numbers.
  void Write() const {
    std::ofstream file(options_.output, std::ios::binary | std::ios::trunc);
    std::string header = absl::StrCat("{'descr': '<f4', 'fortran_order': False, 'shape': (",
                                      total_rows_, ", ", model_->config().vocab, "), }");
    while ((10 + header.size() + 1) % 64 != 0) header += ' ';
    header += '\n';
    file.write("\x93NUMPY\x01\x00", 8);
    file.put(static_cast<char>(header.size() & 0xFF)).put(static_cast<char>(header.size() >> 8));
    file << header;
    file.write(reinterpret_cast<const char*>(logits_.data()),
               static_cast<std::streamsize>(logits_.size() * sizeof(float)));
    file.close();
    if (!file) Die(absl::UnavailableError(absl::StrCat("cannot write ", options_.output)));
  }

 private:
  void Prefill(size_t s) {
    const std::vector<int32_t>& tokens = sequences_[s];
    const int32_t end = static_cast<int32_t>(tokens.size()) - options_.decode;
    for (int32_t first = 0; first < end; first += options_.chunk) {
      const int32_t rows = std::min(options_.chunk, end - first);
      const StepData step =
          StepData::Prefill(gpu_, pool_->kv(), model_->config().heads, tables_[s], first, rows);
      std::vector<size_t> places;
      for (int32_t r = 0; r < rows; ++r) places.push_back(row_begins_[s] + first + r);
      Run(step, {tokens.begin() + first, tokens.begin() + first + rows}, places);
    }
  }

  void Decode(int32_t index) {
    std::vector<int32_t> lengths;
    std::vector<int32_t> ids;
    std::vector<size_t> places;
    for (size_t s = 0; s < sequences_.size(); ++s) {
      const size_t position = sequences_[s].size() - options_.decode + index;
      lengths.push_back(static_cast<int32_t>(position) + 1);
      ids.push_back(sequences_[s][position]);
      places.push_back(row_begins_[s] + position);
    }
    const StepData step =
        StepData::Decode(gpu_, pool_->kv(), model_->config().heads, tables_, lengths);
    Run(step, ids, places);
  }

  // One pass; row r's logits go to logits row places[r].
  void Run(const StepData& step, const std::vector<int32_t>& ids,
           const std::vector<size_t>& places) {
    const auto vocab = static_cast<size_t>(model_->config().vocab);
    model::CudaPass pass;
    pass.stream = gpu_->stream();
    pass.shape = {step.rows(), step.rows(), step.slots_max()};
    const device::CudaBuffer device_ids = gpu_->Upload(ids);
    pass.ids = device_ids.As<int32_t>();
    pass.positions = step.positions();
    pass.sequence_of_row = step.sequence_of_row();
    pass.tables = step.tables();
    pass.kv = pool_->kv();
    pass.tiles = step.tiles();
    pass.tile_count = step.tile_count();
    if (step.slots_max() > 0) pass.plan = step.plan();
    const int64_t workspace_bytes = model_->WorkspaceBytes(pass.shape);
    const device::CudaBuffer workspace = gpu_->Alloc(workspace_bytes);
    pass.workspace = workspace.data();
    gpu_->Check(gpu_->api().fill_bytes(gpu_->stream(), workspace.data(), kPoison, workspace_bytes));
    const float* const logits = ValueOrDie(model_->Forward(pass));
    std::vector<float> rows(places.size() * vocab);
    gpu_->Check(gpu_->api().copy_to_host(gpu_->stream(), rows.data(), logits,
                                         static_cast<int64_t>(rows.size() * sizeof(float))));
    gpu_->Synchronize();
    for (size_t r = 0; r < places.size(); ++r) {
      std::copy_n(rows.begin() + static_cast<int64_t>(r * vocab), vocab,
                  logits_.begin() + static_cast<int64_t>(places[r] * vocab));
    }
  }

  Gpu* const gpu_;
  const model::CudaLlama* const model_;
  const Options& options_;
  const Sequences& sequences_;
  std::unique_ptr<KvPool> pool_;
  BlockTables tables_;
  std::vector<size_t> row_begins_;
  size_t total_rows_ = 0;
  std::vector<float> logits_;
};

int Main(int argc, char** argv) {
  const Options options = ParseOptions(argc, argv);
  Gpu gpu(options.gpu);
  const auto json = ValueOrDie(model::ReadJson(options.model, model::kHfConfig));
  std::vector<std::string> warnings;
  const auto source = ValueOrDie(
      model::HfWeightSource(options.model, ValueOrDie(model::ReadHfConfig(*json)), &warnings));
  for (const std::string& warning : warnings) std::cerr << warning << "\n";
  const auto model = ValueOrDie(model::CudaLlama::Load(*source, gpu.mutable_device()));
  const Sequences sequences = ReadTokens(options.tokens, model->config().vocab, options.decode);
  LogitsWriter writer(&gpu, model.get(), options, sequences);
  writer.Compute();
  writer.Write();
  return 0;
}

}  // namespace
}  // namespace ebb::bench

int main(int argc, char** argv) { return ebb::bench::Main(argc, argv); }
