// How fast a whole model runs on a CUDA device: decode steps of 1, 8 and 64 sequences at a context
// of 1k, and a prefill of 2k, each beside its floor; and what an elastic pool of mapped pages costs
// against one fixed allocation; and what it costs to swap the prefill's keys and values. The shape
// is Llama 3.1 8B's in bf16, weights made at random on the device.
//
//   model_bench --library libebb_cuda.so --json FILE
//
// A decode step is a captured graph of CudaLlama::Forward, as in the server, without the copies of
// a step's data and without sampling (kernel_bench times that). In the floor's bytes count the
// weights once, and each sequence's keys and values; in its operations 2 for each multiply-add.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "bench/gpu/gpu_bench.h"
#include "bench/gpu/kv_pool.h"
#include "bench/gpu/step_data.h"
#include "engine/cuda_kv_copier.h"
#include "model/llama_cuda.h"
#include "model/random_model.h"

namespace ebb::bench {
namespace {

struct Plan {
  std::vector<int32_t> sequences = {1, 8, 64};
  int32_t context = 1024;
  int32_t prefill = 2048;
  int32_t block_tokens = 16;
  int rounds = 30;
};

Plan PlanFor(const GpuOptions& options) {
  Plan plan;
  if (!options.smoke) return plan;
  plan.sequences = {1, 2};
  plan.context = 40;
  plan.prefill = 24;
  plan.block_tokens = 8;
  plan.rounds = 1;
  return plan;
}

// Multiply-adds of a row in the matrices of all layers.
double LayerProducts(const model::ModelConfig& config) {
  const double q_width = double{1} * config.heads * config.head_dim;
  const double kv_width = double{1} * config.kv_heads * config.head_dim;
  return double{1} * config.layers * config.width *
         (2 * q_width + 2 * kv_width + 3.0 * config.ffn_width);
}

double HeadProducts(const model::ModelConfig& config) {
  return double{1} * config.width * config.vocab;
}

// Multiply-adds of a row's attention to one position, over all layers.
double AttentionProducts(const model::ModelConfig& config) {
  return 2.0 * config.layers * config.heads * config.head_dim;
}

// What every step reads: all matrices. Of the embedding it reads a row for each row.
double WeightBytes(const model::ModelConfig& config) {
  return 2 * (LayerProducts(config) + HeadProducts(config));
}

class ModelBench {
 public:
  ModelBench(Gpu* gpu, Report* report, const model::CudaLlama* model, const Plan& plan)
      : gpu_(gpu), report_(report), model_(model), config_(model->config()), plan_(plan) {}

  void Run() {
    for (const int32_t sequences : plan_.sequences) {
      for (const bool elastic : {false, true}) Decode(sequences, elastic);
    }
    Prefill();
    for (const bool out : {true, false}) Swap(out);
  }

 private:
  KvPool::Options PoolOptions(int32_t sequences, int32_t tokens, bool elastic) const {
    KvPool::Options options;
    options.layers = config_.layers;
    options.kv_heads = config_.kv_heads;
    options.head_dim = config_.head_dim;
    options.block_tokens = plan_.block_tokens;
    options.blocks = StepData::BlocksOf(sequences, tokens, plan_.block_tokens);
    options.elastic = elastic;
    return options;
  }

  model::CudaPass PassOf(const StepData& step, const KvPool& pool) const {
    model::CudaPass pass;
    pass.stream = gpu_->stream();
    pass.shape.row_count = step.rows();
    pass.shape.slots_max = step.slots_max();
    pass.positions = step.positions();
    pass.sequence_of_row = step.sequence_of_row();
    pass.tables = step.tables();
    pass.kv = pool.kv();
    pass.tiles = step.tiles();
    pass.tile_count = step.tile_count();
    if (step.slots_max() > 0) pass.plan = step.plan();
    return pass;
  }

  device::CudaBuffer Ids(int32_t rows) {
    std::vector<int32_t> ids;
    for (int32_t r = 0; r < rows; ++r) ids.push_back((r * 7919 + 13) % config_.vocab);
    return gpu_->Upload(ids);
  }

  void Decode(int32_t sequences, bool elastic) {
    const std::string name =
        absl::StrCat("decode ", sequences, " at ", plan_.context, elastic ? " elastic" : " fixed");
    const std::string flips_name = absl::StrCat(name, ", a page flipped each step");
    if (!report_->Wants(name) && !report_->Wants(flips_name)) return;
    KvPool pool(gpu_, PoolOptions(sequences, plan_.context, elastic));
    const int32_t blocks_each = StepData::BlocksOf(1, plan_.context, plan_.block_tokens);
    const StepData step =
        StepData::Decode(gpu_, pool.kv(), config_.heads, pool.TablesOf(sequences, blocks_each),
                         std::vector<int32_t>(static_cast<size_t>(sequences), plan_.context));
    model::CudaPass pass = PassOf(step, pool);
    pass.shape.logits_row_count = sequences;
    const device::CudaBuffer ids = Ids(sequences);
    const device::CudaBuffer workspace = gpu_->Alloc(model_->WorkspaceBytes(pass.shape));
    pass.ids = ids.As<int32_t>();
    pass.workspace = workspace.data();
    const auto forward = [&] { OrDie(model_->Forward(pass).status()); };

    Figure figure;
    figure.name = name;
    figure.milliseconds = gpu_->TimeGraph(plan_.rounds, forward);
    const double tokens = double{1} * sequences * plan_.context;
    figure.bytes = WeightBytes(config_) + tokens * static_cast<double>(config_.KvBytesPerToken(2));
    figure.operations = 2 * (sequences * (LayerProducts(config_) + HeadProducts(config_)) +
                             tokens * AttentionProducts(config_));
    figure.more = {{"sequences", sequences},
                   {"context_tokens", plan_.context},
                   {"elastic", elastic},
                   {"tokens_per_s", TokensPerSecond(figure.milliseconds, sequences)}};
    report_->Add(figure);
    if (!elastic) return;
    figure.name = flips_name;
    figure.milliseconds = TimeWithFlips(&pool, forward);
    figure.more["tokens_per_s"] = TokensPerSecond(figure.milliseconds, sequences);
    figure.more["page_bytes"] = pool.page_bytes();
    report_->Add(figure);
  }

  static double TokensPerSecond(const std::vector<double>& sorted_milliseconds, int32_t tokens) {
    return tokens / std::max(sorted_milliseconds[sorted_milliseconds.size() / 2], 1e-9) * 1e3;
  }

  // Wall-clock milliseconds of steps with a page unmapped, given back, made and mapped before each,
  // while no work runs: the cautious way of editing addresses.
  std::vector<double> TimeWithFlips(KvPool* pool, const std::function<void()>& forward) {
    const device::CudaGraph graph =
        ValueOrDie(device::CudaGraph::Capture(&gpu_->device(), gpu_->stream(), [&forward] {
          forward();
          return absl::OkStatus();
        }));
    std::vector<double> times;
    for (int i = 0; i < plan_.rounds; ++i) {
      const auto begin = std::chrono::steady_clock::now();
      pool->Flip();
      OrDie(graph.Launch(gpu_->stream()));
      gpu_->Synchronize();
      times.push_back(
          std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin)
              .count());
    }
    std::sort(times.begin(), times.end());
    return times;
  }

  void Prefill() {
    const std::string name = absl::StrCat("prefill ", plan_.prefill);
    if (!report_->Wants(name)) return;
    KvPool pool(gpu_, PoolOptions(1, plan_.prefill, true));
    const int32_t blocks = StepData::BlocksOf(1, plan_.prefill, plan_.block_tokens);
    const StepData step = StepData::Prefill(gpu_, pool.kv(), config_.heads,
                                            pool.TablesOf(1, blocks)[0], 0, plan_.prefill);
    model::CudaPass pass = PassOf(step, pool);
    pass.shape.logits_row_count = 1;
    const device::CudaBuffer last_row = gpu_->Upload(std::vector<int32_t>{plan_.prefill - 1});
    pass.logits_rows = last_row.As<int32_t>();
    const device::CudaBuffer ids = Ids(plan_.prefill);
    const device::CudaBuffer workspace = gpu_->Alloc(model_->WorkspaceBytes(pass.shape));
    pass.ids = ids.As<int32_t>();
    pass.workspace = workspace.data();

    Figure figure;
    figure.name = name;
    figure.milliseconds =
        gpu_->TimeLaunches(plan_.rounds, [&] { OrDie(model_->Forward(pass).status()); });
    const double rows = plan_.prefill;
    figure.bytes = WeightBytes(config_);
    figure.operations = 2 * (rows * LayerProducts(config_) + HeadProducts(config_) +
                             rows * (rows + 1) / 2 * AttentionProducts(config_));
    figure.more = {{"tokens", plan_.prefill},
                   {"tokens_per_s", TokensPerSecond(figure.milliseconds, plan_.prefill)}};
    report_->Add(figure);
  }

  // The prefill's keys and values, to pinned host memory or back, in the engine's pieces. The floor
  // is the bus's, which nothing here knows: none is counted.
  void Swap(bool out) {
    const std::string name = absl::StrCat("swap ", out ? "out " : "in ", plan_.prefill);
    if (!report_->Wants(name)) return;
    KvPool pool(gpu_, PoolOptions(1, plan_.prefill, true));
    const EbbCudaKv& from = pool.kv();
    kernels::PagedKv kv;
    kv.base = from.base;
    kv.dtype = kernels::DType::kBF16;
    kv.layers = config_.layers;
    kv.kv_heads = config_.kv_heads;
    kv.head_dim = config_.head_dim;
    kv.block_tokens = plan_.block_tokens;
    kv.layer_block_bytes = from.index_stride_bytes;
    kv.blocks_per_page = static_cast<int32_t>(from.layer_stride_bytes / from.index_stride_bytes);
    const auto copier = ValueOrDie(engine::CudaKvCopier::Create(&gpu_->device(), nullptr, kv));
    const int32_t blocks = StepData::BlocksOf(1, plan_.prefill, plan_.block_tokens);
    const int64_t slot_bytes = kv.layers * kv.layer_block_bytes;
    const engine::CopierTraits& traits = copier->traits();
    for (int32_t chunk = 0; chunk * traits.chunk_slots < blocks; ++chunk) {
      OrDie(copier->AddChunk(chunk, traits.chunk_slots * slot_bytes));
    }
    Figure figure;
    figure.name = name;
    for (int round = 0; round < plan_.rounds; ++round) {
      const auto begin = std::chrono::steady_clock::now();
      for (int32_t first = 0; first < blocks; first += traits.piece_slots) {
        std::vector<engine::SlotCopy> piece;
        for (int32_t b = first; b < std::min(blocks, first + traits.piece_slots); ++b) {
          piece.push_back({pool.IndexOf(b), b});
        }
        OrDie(out ? copier->CopyOut(piece) : copier->CopyIn(piece));
      }
      figure.milliseconds.push_back(
          std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin)
              .count());
    }
    std::sort(figure.milliseconds.begin(), figure.milliseconds.end());
    figure.more = {{"tokens", plan_.prefill}, {"copied_bytes", blocks * slot_bytes}};
    report_->Add(figure);
  }

  Gpu* const gpu_;
  Report* const report_;
  const model::CudaLlama* const model_;
  const model::ModelConfig& config_;
  const Plan plan_;
};

int Main(int argc, char** argv) {
  const GpuOptions options = ParseGpuOptions(
      argc, argv, "model_bench: decode and prefill of the 8B Llama shape beside their floors");
  Gpu gpu(options);
  Report report(options, gpu, MeasureCeilings(&gpu));
  const auto source = ValueOrDie(
      model::RandomWeightSource(options.smoke ? "random:tiny-llama" : "random:llama-3.1-8b"));
  const auto model = ValueOrDie(model::CudaLlama::Load(*source, gpu.mutable_device()));
  ModelBench(&gpu, &report, model.get(), PlanFor(options)).Run();
  return 0;
}

}  // namespace
}  // namespace ebb::bench

int main(int argc, char** argv) { return ebb::bench::Main(argc, argv); }
