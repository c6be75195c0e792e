// What it takes on this host to compute a sequence's keys and values again, and what to have them
// written to the swap file and read back: where swapping begins to pay.
//
//   bazel run //bench/memory:swap_cost -- --model FILE [--tokens-max 4096] [--rounds 3]
//       [--threads 2]
//
// The file lies where memory.swap_directory has it by default, and every byte reaches its disk
// (engine/file_kv_copier.h). Each figure is the least of --rounds rounds; prompts run in chunks of
// 512 tokens, as by default.

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "base/check.h"
#include "base/clock.h"
#include "bench/number_flags.h"
#include "engine/file_kv_copier.h"
#include "engine/model_step_runner.h"
#include "engine/options.h"
#include "kernels/backend_factory.h"
#include "model/llama.h"
#include "model/open_model.h"

namespace ebb::bench {
namespace {

constexpr int32_t kBlockTokens = 16;
constexpr int32_t kBlocksPerPage = 16;

class Bench {
 public:
  Bench(const model::LlamaModel* model, int64_t tokens_max, int64_t rounds)
      : rounds_(rounds), chunk_tokens_(options_.step.chunk_tokens_max) {
    kv_.layers = model->config().layers;
    kv_.kv_heads = model->config().kv_heads;
    kv_.head_dim = model->config().head_dim;
    kv_.block_tokens = kBlockTokens;
    kv_.blocks_per_page = kBlocksPerPage;
    kv_.layer_block_bytes =
        kernels::PagedKv::LayerBlockBytes(kv_.dtype, kv_.kv_heads, kv_.head_dim, kBlockTokens);
    const int64_t pages = (tokens_max / kBlockTokens + kBlocksPerPage) / kBlocksPerPage;
    kv_.base = Allocate(pages * kBlocksPerPage * slot_bytes());
    const int64_t workspace_bytes = static_cast<int64_t>(model->WorkspaceBytes(chunk_tokens_, 1));
    engine::StepRunnerPlace place;
    place.kv = kv_;
    place.prefill = {Allocate(workspace_bytes), workspace_bytes};
    runner_ = std::make_unique<engine::ModelStepRunner>(model, &clock_, place);
    auto copier = engine::FileKvCopier::Create(options_.memory.swap_directory, kv_);
    CHECK_OK(copier.status());
    copier_ = *std::move(copier);
    const int64_t slots = pages * kBlocksPerPage;
    const int64_t chunk_slots = copier_->traits().chunk_slots;
    for (int64_t slot = 0; slot < slots; slot += chunk_slots) {
      CHECK_OK(copier_->AddChunk(static_cast<int32_t>(slot / chunk_slots),
                                 std::min(chunk_slots, slots - slot) * slot_bytes()));
    }
  }

  void Run(int32_t tokens) {
    double compute = 1e9, out = 1e9, in = 1e9;
    for (int64_t round = 0; round < rounds_; ++round) {
      compute = std::min(compute, Compute(tokens));
      out = std::min(out, Copy(tokens, true));
      in = std::min(in, Copy(tokens, false));
    }
    const double mib = static_cast<double>(BlocksOf(tokens) * slot_bytes()) / (1 << 20);
    std::printf("| %d | %.1f | %.3f | %.3f | %.3f | %.2f |\n", tokens, mib, compute, out, in,
                (out + in) / compute);
    std::fflush(stdout);
  }

 private:
  // Of whole pages; never freed: the process ends with the bench.
  static uint8_t* Allocate(int64_t bytes) {
    const int64_t rounded = (bytes + 4095) / 4096 * 4096;
    auto* const memory =
        static_cast<uint8_t*>(std::aligned_alloc(4096, static_cast<size_t>(rounded)));
    CHECK(memory != nullptr);
    return memory;
  }
  int64_t slot_bytes() const { return kv_.layers * kv_.layer_block_bytes; }
  static int32_t BlocksOf(int32_t tokens) { return (tokens + kBlockTokens - 1) / kBlockTokens; }
  int32_t IndexOf(int32_t block) const {
    return block / kBlocksPerPage * kBlocksPerPage * kv_.layers + block % kBlocksPerPage;
  }

  double Compute(int32_t tokens) {
    absl::Duration took;
    for (int32_t first = 0; first < tokens; first += chunk_tokens_) {
      const int32_t end = std::min(tokens, first + chunk_tokens_);
      engine::SequenceRows rows;
      rows.first_position = first;
      for (int32_t t = first; t < end; ++t) rows.tokens.push_back(1000 + t * 17 % 4096);
      for (int32_t b = 0; b < BlocksOf(end); ++b) rows.table.push_back(IndexOf(b));
      engine::Batch batch;
      batch.lane = engine::Lane::kPrefill;
      batch.sequences.push_back(std::move(rows));
      runner_->Submit(std::move(batch));
      runner_->WaitIdle();
      const auto result = runner_->TakeResult(engine::Lane::kPrefill);
      CHECK(result.has_value());
      CHECK_OK(result->status);
      took += result->ended - result->started;
    }
    return absl::ToDoubleSeconds(took);
  }

  // In pieces, as the engine copies.
  double Copy(int32_t tokens, bool out) {
    const absl::Time started = clock_.Now();
    const int32_t blocks = BlocksOf(tokens);
    for (int32_t first = 0; first < blocks; first += copier_->traits().piece_slots) {
      std::vector<engine::SlotCopy> piece;
      const int32_t end = std::min(blocks, first + copier_->traits().piece_slots);
      for (int32_t b = first; b < end; ++b) piece.push_back({IndexOf(b), b});
      CHECK_OK(out ? copier_->CopyOut(piece) : copier_->CopyIn(piece));
    }
    return absl::ToDoubleSeconds(clock_.Now() - started);
  }

  const engine::LocalEngineOptions options_;
  const int64_t rounds_;
  const int32_t chunk_tokens_;
  const base::RealClock clock_;
  kernels::PagedKv kv_;
  std::unique_ptr<engine::ModelStepRunner> runner_;
  std::unique_ptr<engine::FileKvCopier> copier_;
};

int Main(int argc, char** argv) {
  std::string path;
  int64_t tokens_max = 4096, rounds = 3, threads = 2;
  if (!ReadNumberFlags(
          argc, argv, 1 << 20, &path,
          {{"--tokens-max", &tokens_max}, {"--rounds", &rounds}, {"--threads", &threads}})) {
    std::fprintf(stderr,
                 "usage: swap_cost --model FILE [--tokens-max N] [--rounds N] [--threads N]\n");
    return 64;
  }
  const auto opened = model::OpenModel(path);
  CHECK_OK(opened.status());
  const auto backend = kernels::MakeCpuBackend("auto", static_cast<int>(threads));
  CHECK_OK(backend.status());
  const auto model = model::LlamaModel::Load(*opened->weights, backend->get());
  CHECK_OK(model.status());
  Bench bench(model->get(), tokens_max, rounds);
  std::printf("| tokens | MiB | compute s | out s | in s | (out + in) / compute |\n");
  std::printf("| --- | --- | --- | --- | --- | --- |\n");
  for (int64_t tokens = 256; tokens <= tokens_max; tokens *= 2) {
    bench.Run(static_cast<int32_t>(tokens));
  }
  return 0;
}

}  // namespace
}  // namespace ebb::bench

int main(int argc, char** argv) { return ebb::bench::Main(argc, argv); }
