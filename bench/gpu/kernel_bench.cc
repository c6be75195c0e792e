// How fast each operation of the CUDA library is, at the shapes of Llama 3.1 8B, beside its floor;
// and decode attention over three layouts of keys and values.
//
//   kernel_bench --library libebb_cuda.so --json FILE [--only linear]
//
// A time is that of a captured graph of several launches, divided by their number. Launches rotate
// over copies of what they read (or over layers) that together exceed the L2 cache fourfold.
#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "bench/gpu/gpu_bench.h"
#include "bench/gpu/kv_pool.h"
#include "bench/gpu/step_data.h"

namespace ebb::bench {
namespace {

using device::CudaBuffer;

struct Shape {
  int32_t layers = 32;
  int32_t width = 4096;
  int32_t ffn_width = 14336;
  int32_t heads = 32;
  int32_t kv_heads = 8;
  int32_t head_dim = 128;
  int32_t vocab = 128256;
  int32_t block_tokens = 16;
  std::vector<int32_t> rows = {1, 8, 64, 2048};
  std::vector<int32_t> sequences = {1, 8, 64};
  int32_t context = 1024;
  struct Chunk {
    int32_t rows;
    int32_t first_position;
  };
  std::vector<Chunk> prefill = {{2048, 0}, {8192, 0}, {16384, 0}, {512, 15872}};
  int32_t copies_max = 64;
  int rounds = 20;
};

Shape ShapeFor(const GpuOptions& options) {
  if (!options.smoke) return Shape();
  Shape shape;
  shape.layers = 2;
  shape.width = 64;
  shape.ffn_width = 96;
  shape.heads = 4;
  shape.kv_heads = 2;
  shape.head_dim = 32;
  shape.vocab = 128;
  shape.block_tokens = 8;
  shape.rows = {1, 9};
  shape.sequences = {2};
  shape.context = 40;
  shape.prefill = {{20, 0}, {9, 11}};
  shape.copies_max = 2;
  shape.rounds = 1;
  return shape;
}

class KernelBench {
 public:
  KernelBench(Gpu* gpu, Report* report, Shape shape)
      : gpu_(gpu), report_(report), shape_(std::move(shape)) {}

  void Run() {
    for (const int32_t rows : shape_.rows) {
      RowOperations(rows);
      Linears(rows);
    }
    for (const int32_t rows : shape_.sequences) Sample(rows);
    const struct {
      KvLayout layout;
      const char* name;
    } layouts[] = {{KvLayout::kUniform, "uniform"},
                   {KvLayout::kPerLayer, "per layer"},
                   {KvLayout::kBlockMajor, "block-major"}};
    for (const int32_t sequences : shape_.sequences) {
      for (const auto& [layout, name] : layouts) DecodeAttention(sequences, layout, name);
      InvariantDecodeAttention(sequences);
    }
    for (const Shape::Chunk& chunk : shape_.prefill) PrefillAttention(chunk);
  }

 private:
  // Copies of something so large that together exceed the L2 cache fourfold.
  int32_t CopiesOf(int64_t bytes) const {
    const int64_t wanted = 4 * gpu_->device().info().l2_bytes / std::max<int64_t>(1, bytes) + 1;
    return static_cast<int32_t>(std::clamp<int64_t>(wanted, 1, shape_.copies_max));
  }

  void Add(const std::string& name, int32_t copies, double bytes, double operations,
           const std::function<void(int32_t copy)>& launch) {
    Figure figure;
    figure.name = name;
    figure.bytes = bytes;
    figure.operations = operations;
    // About 3 ms in a graph, so that its own start does not count, and each copy once.
    const double floor_s = std::max(report_->FloorSeconds(figure), 1e-6);
    const double wanted = std::min(3e-3 / floor_s, static_cast<double>(shape_.copies_max));
    figure.repeats = std::max(copies, static_cast<int32_t>(wanted));
    figure.milliseconds = gpu_->TimeGraph(shape_.rounds, [&] {
      for (int32_t i = 0; i < figure.repeats; ++i) launch(i % copies);
    });
    report_->Add(figure);
  }

  void RowOperations(int32_t rows) {
    RmsNorm(rows);
    SwiGlu(rows);
    Embed(rows);
    RopeStore(rows);
  }

  void RmsNorm(int32_t rows) {
    const std::string name = absl::StrCat("rms_norm rows=", rows);
    if (!report_->Wants(name)) return;
    const int64_t in_bytes = int64_t{4} * rows * shape_.width;
    const int32_t copies = CopiesOf(in_bytes);
    // Random bf16 pairs are valid floats; small ones, so that no square overflows.
    const CudaBuffer x = gpu_->Random(in_bytes * copies, 1);
    const CudaBuffer weight = gpu_->Random(int64_t{4} * shape_.width, 1);
    const CudaBuffer out = gpu_->Alloc(in_bytes / 2 * copies);
    Add(name, copies, 1.5 * static_cast<double>(in_bytes), 0, [&](int32_t copy) {
      EbbCudaRmsNorm op = {};
      op.x = x.As<float>() + int64_t{copy} * rows * shape_.width;
      op.weight = weight.As<float>();
      op.out = out.As<uint16_t>() + int64_t{copy} * rows * shape_.width;
      op.rows = rows;
      op.width = shape_.width;
      op.epsilon = 1e-5f;
      gpu_->Check(gpu_->api().rms_norm(gpu_->stream(), &op));
    });
  }

  void SwiGlu(int32_t rows) {
    const std::string name = absl::StrCat("swiglu rows=", rows);
    if (!report_->Wants(name)) return;
    const int64_t elements = int64_t{rows} * shape_.ffn_width;
    const int32_t copies = CopiesOf(4 * elements);
    const CudaBuffer in = gpu_->Random(4 * elements * copies, 1);
    const CudaBuffer out = gpu_->Alloc(2 * elements * copies);
    Add(name, copies, 6.0 * static_cast<double>(elements), 0, [&](int32_t copy) {
      EbbCudaSwiGlu op = {};
      op.gate_up = in.As<uint16_t>() + 2 * elements * copy;
      op.out = out.As<uint16_t>() + elements * copy;
      op.rows = rows;
      op.ffn_width = shape_.ffn_width;
      gpu_->Check(gpu_->api().swiglu(gpu_->stream(), &op));
    });
  }

  void Embed(int32_t rows) {
    const std::string name = absl::StrCat("embed rows=", rows);
    if (!report_->Wants(name)) return;
    const CudaBuffer table = gpu_->Random(int64_t{2} * shape_.vocab * shape_.width, 1);
    const CudaBuffer x = gpu_->Alloc(int64_t{4} * rows * shape_.width);
    // Other rows of the table in every launch.
    std::vector<int32_t> ids;
    for (int32_t i = 0; i < rows * shape_.copies_max; ++i) {
      ids.push_back(static_cast<int32_t>(int64_t{i} * 7919 % shape_.vocab));
    }
    const CudaBuffer device_ids = gpu_->Upload(ids);
    Add(name, shape_.copies_max, 6.0 * rows * shape_.width, 0, [&](int32_t copy) {
      EbbCudaEmbed op = {};
      op.ids = device_ids.As<int32_t>() + int64_t{copy} * rows;
      op.table = table.As<uint16_t>();
      op.x = x.As<float>();
      op.rows = rows;
      op.width = shape_.width;
      gpu_->Check(gpu_->api().embed(gpu_->stream(), &op));
    });
  }

  KvPool::Options PoolOptions(int32_t sequences, int32_t tokens, KvLayout layout) const {
    KvPool::Options options;
    options.layers = shape_.layers;
    options.kv_heads = shape_.kv_heads;
    options.head_dim = shape_.head_dim;
    options.block_tokens = shape_.block_tokens;
    options.blocks = StepData::BlocksOf(sequences, tokens, shape_.block_tokens);
    options.layout = layout;
    return options;
  }

  StepData PrefillStep(const KvPool& pool, int32_t first_position, int32_t rows) {
    const int32_t blocks = StepData::BlocksOf(1, first_position + rows, shape_.block_tokens);
    return StepData::Prefill(gpu_, pool.kv(), shape_.heads, pool.TablesOf(1, blocks)[0],
                             first_position, rows);
  }

  void RopeStore(int32_t rows) {
    const std::string name = absl::StrCat("rope_store rows=", rows);
    if (!report_->Wants(name)) return;
    KvPool pool(gpu_, PoolOptions(1, rows, KvLayout::kUniform));
    const StepData step = PrefillStep(pool, 0, rows);
    const int64_t width = int64_t{shape_.heads + 2 * shape_.kv_heads} * shape_.head_dim;
    const int32_t copies = CopiesOf(2 * rows * width);
    const CudaBuffer qkv = gpu_->Random(2 * rows * width * copies, 1);
    const CudaBuffer q = gpu_->Alloc(int64_t{2} * rows * shape_.heads * shape_.head_dim);
    const CudaBuffer frequencies =
        gpu_->Upload(std::vector<float>(static_cast<size_t>(shape_.head_dim / 2), 0.01f));
    Add(name, copies, 4.0 * rows * static_cast<double>(width), 0, [&](int32_t copy) {
      EbbCudaRopeStore op = {};
      op.qkv = qkv.As<uint16_t>() + rows * width * copy;
      op.frequencies = frequencies.As<float>();
      op.positions = step.positions();
      op.sequence_of_row = step.sequence_of_row();
      op.q_out = q.As<uint16_t>();
      op.tables = step.tables();
      op.kv = pool.kv();
      op.layer = copy % shape_.layers;
      op.rows = rows;
      op.heads = shape_.heads;
      op.pair_count = shape_.head_dim / 2;
      gpu_->Check(gpu_->api().rope_store(gpu_->stream(), &op));
    });
  }

  void Linears(int32_t rows) {
    const int32_t q_width = shape_.heads * shape_.head_dim;
    const int32_t qkv_width = q_width + 2 * shape_.kv_heads * shape_.head_dim;
    Linear("qkv", rows, qkv_width, shape_.width, EBB_CUDA_BF16);
    Linear("attention out", rows, shape_.width, q_width, EBB_CUDA_F32_ACCUMULATE);
    Linear("gate and up", rows, 2 * shape_.ffn_width, shape_.width, EBB_CUDA_BF16);
    Linear("down", rows, shape_.width, shape_.ffn_width, EBB_CUDA_F32_ACCUMULATE);
    // Logits are computed for the rows that are sampled only.
    if (rows <= 64) Linear("head", rows, shape_.vocab, shape_.width, EBB_CUDA_F32);
  }

  void Linear(const char* what, int32_t rows, int32_t outputs, int32_t inputs,
              EbbCudaLinearOutput output) {
    for (const int32_t invariant : {0, 1}) {
      const std::string name =
          absl::StrCat("linear ", what, " rows=", rows, invariant != 0 ? " invariant" : "");
      if (!report_->Wants(name)) continue;
      const int64_t weights = int64_t{outputs} * inputs;
      const int32_t copies = CopiesOf(2 * weights);
      const CudaBuffer weight = gpu_->Random(2 * weights * copies, 0.02f);
      const CudaBuffer x = gpu_->Random(int64_t{2} * rows * inputs, 1);
      const CudaBuffer y = gpu_->Random(int64_t{4} * rows * outputs, 1);
      const double y_bytes = output == EBB_CUDA_BF16 ? 2 : output == EBB_CUDA_F32 ? 4 : 8;
      const double bytes =
          2.0 * static_cast<double>(weights) + 2.0 * rows * inputs + y_bytes * rows * outputs;
      Add(name, copies, bytes, 2.0 * static_cast<double>(weights) * rows, [&](int32_t copy) {
        EbbCudaLinear op = {};
        op.weight = weight.As<uint16_t>() + weights * copy;
        op.x = x.As<uint16_t>();
        op.y = y.data();
        op.rows = rows;
        op.outputs = outputs;
        op.inputs = inputs;
        op.output = output;
        op.invariant = invariant;
        gpu_->Linear(op);
      });
    }
  }

  // The whole logits of a row are read once at least; all rows want the same.
  void Sample(int32_t rows) {
    EbbCudaSampling greedy = {};
    greedy.unit = 0.37;
    greedy.top_p = 1;
    greedy.top_count = -1;
    greedy.target_id = -1;
    greedy.sample = 1;
    EbbCudaSampling drawn = greedy;
    drawn.temperature = 0.8f;
    EbbCudaSampling top_p = drawn;
    top_p.top_p = 0.9f;
    EbbCudaSampling top_k = drawn;
    top_k.top_k = 40;
    EbbCudaSampling both = top_p;
    both.top_k = 40;
    EbbCudaSampling logprobs = greedy;
    logprobs.top_count = 20;
    const struct {
      const char* name;
      EbbCudaSampling sampling;
    } cases[] = {{"greedy", greedy}, {"temperature", drawn},    {"top_p", top_p},
                 {"top_k", top_k},   {"top_k and top_p", both}, {"logprobs", logprobs}};
    for (const auto& [name, sampling] : cases) {
      SampleRows(absl::StrCat("sample rows=", rows, " ", name), rows, sampling);
    }
  }

  void SampleRows(const std::string& name, int32_t rows, const EbbCudaSampling& one) {
    if (!report_->Wants(name)) return;
    const int64_t bytes = int64_t{4} * rows * shape_.vocab;
    const int32_t copies = std::min(CopiesOf(bytes), 16);
    const CudaBuffer logits = gpu_->Random(bytes * copies, 8);
    const CudaBuffer sampling =
        gpu_->Upload(std::vector<EbbCudaSampling>(static_cast<size_t>(rows), one));
    const CudaBuffer banned = gpu_->Upload(std::vector<int32_t>{0});
    const CudaBuffer out = gpu_->Alloc(static_cast<int64_t>(sizeof(EbbCudaSampled)) * rows);
    const CudaBuffer scratch = gpu_->Alloc(gpu_->api().sample_scratch_bytes(rows, shape_.vocab));
    Add(name, copies, static_cast<double>(bytes), 0, [&](int32_t copy) {
      EbbCudaSample op = {};
      op.logits = logits.As<float>() + int64_t{copy} * rows * shape_.vocab;
      op.sampling = sampling.As<EbbCudaSampling>();
      op.banned = banned.As<int32_t>();
      op.out = out.As<EbbCudaSampled>();
      op.scratch = scratch.data();
      op.scratch_bytes = scratch.bytes();
      op.rows = rows;
      op.vocabulary = shape_.vocab;
      gpu_->Check(gpu_->api().sample(gpu_->stream(), &op));
    });
  }

  // A decode step of sequences of shape_.context tokens each.
  struct DecodeStep {
    DecodeStep(Gpu* gpu, const Shape& shape, const KvPool::Options& options, int32_t sequences)
        : pool(gpu, options),
          step(StepData::Decode(
              gpu, pool.kv(), shape.heads,
              pool.TablesOf(sequences, StepData::BlocksOf(1, shape.context, shape.block_tokens)),
              std::vector<int32_t>(static_cast<size_t>(sequences), shape.context))),
          q_width(int64_t{shape.heads} * shape.head_dim),
          q(gpu->Random(2 * sequences * q_width, 1)),
          out(gpu->Alloc(2 * sequences * q_width)) {
      const double positions = double{1} * sequences * shape.context;
      bytes = 4.0 * positions * shape.kv_heads * shape.head_dim;
      operations = 4.0 * positions * static_cast<double>(q_width);
    }

    KvPool pool;
    StepData step;
    int64_t q_width;
    CudaBuffer q;
    CudaBuffer out;
    double bytes;
    double operations;
  };

  void DecodeAttention(int32_t sequences, KvLayout layout, const char* layout_name) {
    const std::string name =
        absl::StrCat("decode attention ", sequences, " at ", shape_.context, ", ", layout_name);
    if (!report_->Wants(name)) return;
    const DecodeStep decode(gpu_, shape_, PoolOptions(sequences, shape_.context, layout),
                            sequences);
    const StepData& step = decode.step;
    const CudaBuffer partials = gpu_->Alloc(4 * step.slots_max() * decode.q_width);
    const CudaBuffer stats = gpu_->Alloc(int64_t{8} * step.slots_max() * shape_.heads);
    Add(name, shape_.layers, decode.bytes, decode.operations, [&](int32_t layer) {
      EbbCudaDecodeAttention op = {};
      op.q = decode.q.As<uint16_t>();
      op.out = decode.out.As<uint16_t>();
      op.plan = step.plan();
      op.partials = partials.As<float>();
      op.partial_stats = stats.As<float>();
      op.tables = step.tables();
      op.kv = decode.pool.kv();
      op.layer = layer;
      op.heads = shape_.heads;
      op.lanes = sequences;
      op.slots_max = step.slots_max();
      gpu_->Check(gpu_->api().decode_attention(gpu_->stream(), &op));
    });
  }

  void PrefillAttention(const Shape::Chunk& chunk) {
    std::string name = absl::StrCat("prefill attention ", chunk.rows);
    if (chunk.first_position > 0) absl::StrAppend(&name, " at ", chunk.first_position);
    if (!report_->Wants(name)) return;
    const int32_t length = chunk.first_position + chunk.rows;
    KvPool pool(gpu_, PoolOptions(1, length, KvLayout::kUniform));
    const StepData step = PrefillStep(pool, chunk.first_position, chunk.rows);
    const int64_t q_width = int64_t{shape_.heads} * shape_.head_dim;
    const CudaBuffer q = gpu_->Random(2 * chunk.rows * q_width, 1);
    const CudaBuffer out = gpu_->Alloc(2 * chunk.rows * q_width);
    const double pairs = chunk.rows * (chunk.first_position + 0.5 * (chunk.rows + 1));
    const double bytes = 4.0 * chunk.rows * static_cast<double>(q_width) +
                         4.0 * length * shape_.kv_heads * shape_.head_dim;
    AddTiles(name, bytes, 4.0 * pairs * static_cast<double>(q_width), pool, step, q, out);
  }

  // As decode steps attend with `cuda.batch_invariant`: in the prefill kernel, a tile for each row.
  void InvariantDecodeAttention(int32_t sequences) {
    const std::string name =
        absl::StrCat("decode attention ", sequences, " at ", shape_.context, ", invariant");
    if (!report_->Wants(name)) return;
    const DecodeStep decode(gpu_, shape_,
                            PoolOptions(sequences, shape_.context, KvLayout::kUniform), sequences);
    AddTiles(name, decode.bytes, decode.operations, decode.pool, decode.step, decode.q, decode.out);
  }

  // Prefill attention of all tiles of the step, over the layers in turn.
  void AddTiles(const std::string& name, double bytes, double operations, const KvPool& pool,
                const StepData& step, const CudaBuffer& q, const CudaBuffer& out) {
    Add(name, shape_.layers, bytes, operations, [&](int32_t layer) {
      EbbCudaPrefillAttention op = {};
      op.q = q.As<uint16_t>();
      op.out = out.As<uint16_t>();
      op.tiles = step.tiles();
      op.tables = step.tables();
      op.kv = pool.kv();
      op.layer = layer;
      op.heads = shape_.heads;
      op.tile_count = step.tile_count();
      gpu_->Check(gpu_->api().prefill_attention(gpu_->stream(), &op));
    });
  }

  Gpu* const gpu_;
  Report* const report_;
  const Shape shape_;
};

int Main(int argc, char** argv) {
  const GpuOptions options = ParseGpuOptions(
      argc, argv, "kernel_bench: each operation at the 8B Llama shape beside its floor");
  Gpu gpu(options);
  Report report(options, gpu, MeasureCeilings(&gpu));
  KernelBench(&gpu, &report, ShapeFor(options)).Run();
  return 0;
}

}  // namespace
}  // namespace ebb::bench

int main(int argc, char** argv) { return ebb::bench::Main(argc, argv); }
