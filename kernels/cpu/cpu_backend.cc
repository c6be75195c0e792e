#include "kernels/cpu/cpu_backend.h"

#include <algorithm>
#include <utility>

#include "absl/container/inlined_vector.h"
#include "base/check.h"
#include "base/status_macros.h"
#include "kernels/cpu/packed_matrix.h"
#include "kernels/cpu/weight_arena.h"
#include "kernels/worker_pool.h"

namespace ebb::kernels::cpu {
namespace {

// Multiply-adds of one prefill tile: some tens of microseconds, for decode waits at most that long.
constexpr int64_t kPrefillTileMacs = int64_t{4} << 20;
// Weight bytes of one decode tile: a few of them hide the cost of claiming.
constexpr int64_t kDecodeTileBytes = 16 << 10;
// Activation groups of one tile: their int16 form should stay in the second-level cache.
constexpr int32_t kGroupsPerTile = 8;
// From this many rows on, work on single rows is worth a section of its own.
constexpr int32_t kParallelRows = 3;
// Blocks of columns that are worth a tile of their own when rows are packed.
constexpr int64_t kPackBlocksMin = 4;

const PackedMatrix& Cast(const Matrix& matrix) { return static_cast<const PackedMatrix&>(matrix); }

int64_t CeilDivide(int64_t a, int64_t b) { return (a + b - 1) / b; }

size_t QuantizedBytes(int32_t row_count, int64_t columns) {
  const int64_t bytes = CeilDivide(columns, kBlockColumns) * kQuantizedBlockBytes * row_count;
  return static_cast<size_t>(CeilDivide(bytes, 64) * 64);
}
size_t PlainBytes(int32_t row_count, int64_t columns) {
  return static_cast<size_t>(CeilDivide(columns * row_count * 4, 64) * 64);
}

// The activations of one operation, packed into scratch: groups of 16 rows, then what is left in
// one group of up to 8, or in two of which the first has 8 (a table has kernels for these widths).
struct PackedRows {
  int32_t row_count = 0;
  int64_t columns = 0;
  uint8_t* quantized = nullptr;  // Null when no matrix needs it.
  uint8_t* plain = nullptr;

  static constexpr int32_t kHalfGroup = kGroupRows / 2;

  int32_t group_count() const {
    const int32_t rest = row_count % kGroupRows;
    return row_count / kGroupRows + (rest + kHalfGroup - 1) / kHalfGroup;
  }
  int32_t first_row(int32_t group) const {
    const int32_t whole = row_count / kGroupRows;
    return group <= whole ? group * kGroupRows : whole * kGroupRows + kHalfGroup;
  }
  int32_t width(int32_t group) const {
    const int32_t whole = row_count / kGroupRows;
    return group < whole ? kGroupRows : std::min(kHalfGroup, row_count - first_row(group));
  }
  uint8_t* quantized_group(int32_t group) const {
    if (quantized == nullptr) return nullptr;
    return quantized + columns / kBlockColumns * kQuantizedBlockBytes * first_row(group);
  }
  uint8_t* plain_group(int32_t group) const {
    return plain == nullptr ? nullptr : plain + columns * 4 * first_row(group);
  }
};

// A section over panels x groups, possibly of several matrices with the same columns.
struct TileShape {
  int32_t panels = 1;
  int32_t groups = 1;
};

TileShape ShapeOf(Lane lane, const PackedMatrix& matrix, int32_t group_count) {
  TileShape shape;
  shape.groups = std::min(group_count, kGroupsPerTile);
  const int64_t macs = matrix.columns() * kPanelRows * shape.groups * kGroupRows;
  int64_t panels = std::max<int64_t>(1, kPrefillTileMacs / macs);
  if (lane == Lane::kDecode) {
    panels = std::min(panels, std::max<int64_t>(1, kDecodeTileBytes / matrix.panel_bytes()));
  }
  shape.panels = static_cast<int32_t>(std::min(panels, matrix.panel_count()));
  return shape;
}

int32_t TileCount(const PackedMatrix& matrix, const TileShape& shape, int32_t group_count) {
  return static_cast<int32_t>(CeilDivide(matrix.panel_count(), shape.panels) *
                              CeilDivide(group_count, shape.groups));
}

// The panels and groups of one tile. Groups vary slowest: neighbours share activations.
struct TileRange {
  int64_t panel = 0;
  int32_t panel_count = 0;
  int32_t first_group = 0;
  int32_t end_group = 0;
};

TileRange RangeOf(const PackedMatrix& matrix, const TileShape& shape, int32_t group_count,
                  int32_t tile) {
  const auto across = static_cast<int32_t>(CeilDivide(matrix.panel_count(), shape.panels));
  TileRange range;
  range.panel = static_cast<int64_t>(tile % across) * shape.panels;
  range.panel_count =
      static_cast<int32_t>(std::min<int64_t>(shape.panels, matrix.panel_count() - range.panel));
  range.first_group = tile / across * shape.groups;
  range.end_group = std::min(group_count, range.first_group + shape.groups);
  return range;
}

// `panel_count` panels times one group, into y: [group's rows, y_stride].
MatmulTile TileOf(const PackedMatrix& matrix, const PackedRows& rows, int64_t panel,
                  int32_t panel_count, int32_t group, float* y, int64_t y_stride) {
  MatmulTile tile;
  tile.panels = matrix.panel(panel);
  tile.panel_bytes = matrix.panel_bytes();
  tile.panel_count = panel_count;
  const int64_t outputs =
      std::min<int64_t>(matrix.rows() - panel * kPanelRows, int64_t{panel_count} * kPanelRows);
  tile.last_outputs = static_cast<int32_t>(outputs - int64_t{panel_count - 1} * kPanelRows);
  tile.columns = matrix.columns();
  tile.x = matrix.is_plain() ? rows.plain_group(group) : rows.quantized_group(group);
  tile.width = rows.width(group);
  tile.y = y;
  tile.y_stride = y_stride;
  return tile;
}

// A run of rows of one sequence at consecutive positions.
struct RowRun {
  int32_t first;
  int32_t count;
};

class CpuBackend : public Backend {
 public:
  CpuBackend(const KernelTable& kernels, int threads) : kernels_(kernels), pool_(threads) {}

  absl::string_view name() const override { return kernels_.name; }

  size_t ScratchBytes(int32_t row_count, int64_t columns_max) const override {
    return QuantizedBytes(row_count, columns_max) +
           std::max(PlainBytes(row_count, columns_max),
                    static_cast<size_t>(row_count) * sizeof(RowRun));
  }

  absl::StatusOr<std::unique_ptr<Matrix>> LoadMatrix(const MatrixSource& source) override {
    ASSIGN_OR_RETURN(std::unique_ptr<PackedMatrix> matrix, PackedMatrix::Pack(source, &arena_));
    return std::unique_ptr<Matrix>(std::move(matrix));
  }

  void BeginStep(Lane lane) override { pool_.BeginStep(lane); }
  void EndStep(Lane lane) override { pool_.EndStep(lane); }

  void Embed(const OpContext& context, const Matrix& table, absl::Span<const int32_t> ids,
             float* out) override {
    const PackedMatrix& matrix = Cast(table);
    ForRows(context.lane, static_cast<int32_t>(ids.size()),
            [&](int32_t row) { matrix.UnpackRow(ids[row], out + row * matrix.columns()); });
  }

  void Linear(const OpContext& context, const float* x, int32_t row_count, const RmsNorm& norm,
              absl::Span<const LinearOutput> outputs) override {
    CHECK(!outputs.empty());
    if (row_count == 0) return;
    bool plain = false;
    bool blocks = false;
    for (const LinearOutput& output : outputs) {
      CHECK_EQ(output.weight->columns(), outputs[0].weight->columns());
      (Cast(*output.weight).is_plain() ? plain : blocks) = true;
    }
    const PackedRows rows =
        PackRows(context, x, row_count, outputs[0].weight->columns(), norm, blocks, plain);
    absl::InlinedVector<TileShape, 4> shapes;
    int32_t tile_count = 0;
    for (const LinearOutput& output : outputs) {
      const PackedMatrix& matrix = Cast(*output.weight);
      shapes.push_back(ShapeOf(context.lane, matrix, rows.group_count()));
      tile_count += TileCount(matrix, shapes.back(), rows.group_count());
    }
    pool_.Run(context.lane, tile_count, [&](int32_t tile) {
      size_t i = 0;
      for (;; ++i) {
        const int32_t count = TileCount(Cast(*outputs[i].weight), shapes[i], rows.group_count());
        if (tile < count) break;
        tile -= count;
      }
      LinearTile(outputs[i], shapes[i], rows, tile);
    });
  }

  void SwiGlu(const OpContext& context, const float* x, int32_t row_count, const RmsNorm& norm,
              const Matrix& gate, const Matrix& up, float* out) override {
    CHECK_EQ(gate.columns(), up.columns());
    CHECK_EQ(gate.rows(), up.rows());
    if (row_count == 0) return;
    const PackedMatrix& gates = Cast(gate);
    const PackedMatrix& ups = Cast(up);
    const bool plain = gates.is_plain() || ups.is_plain();
    const bool blocks = !gates.is_plain() || !ups.is_plain();
    const PackedRows rows = PackRows(context, x, row_count, gate.columns(), norm, blocks, plain);
    const TileShape shape = ShapeOf(context.lane, gates, rows.group_count());
    pool_.Run(context.lane, TileCount(gates, shape, rows.group_count()), [&](int32_t tile) {
      SwiGluTile(gates, ups, rows, RangeOf(gates, shape, rows.group_count(), tile), out);
    });
  }

  void RopeAndStore(const OpContext& context, const BatchRows& rows, const HeadTransform& transform,
                    int32_t layer, int32_t heads, float* q, float* k, const float* v,
                    const PagedKv& kv) override {
    const absl::Span<const float> frequencies = transform.rope.frequencies;
    CHECK_LE(kv.head_dim, kMaxHeadDim);
    CHECK_LE(2 * frequencies.size(), static_cast<size_t>(kv.head_dim));
    ForRows(context.lane, rows.row_count, [&](int32_t row) {
      const int32_t position = rows.positions[row];
      const int32_t index = rows.tables[rows.sequence_of_row[row]][position / kv.block_tokens];
      RopeRow job;
      job.q_bias = transform.q_bias;
      job.k_bias = transform.k_bias;
      job.v_bias = transform.v_bias;
      job.q_norm = transform.q_norm;
      job.k_norm = transform.k_norm;
      job.norm_epsilon = transform.norm_epsilon;
      job.frequencies = frequencies.data();
      job.pair_count = static_cast<int32_t>(frequencies.size());
      job.position = position;
      job.heads = heads;
      job.q = q + int64_t{row} * heads * kv.head_dim;
      job.k = k + int64_t{row} * kv.kv_heads * kv.head_dim;
      job.v = v + int64_t{row} * kv.kv_heads * kv.head_dim;
      job.kv = kv;
      job.keys = kv.Keys(layer, index);
      job.values = kv.Values(layer, index);
      job.token = position % kv.block_tokens;
      kernels_.rope_row(job);
    });
  }

  void Attention(const OpContext& context, const BatchRows& rows, int32_t layer, int32_t heads,
                 const float* q, const PagedKv& kv, float* out) override {
    CHECK_LE(kv.head_dim, kMaxHeadDim);
    CHECK_EQ(heads % kv.kv_heads, 0);
    if (rows.row_count == 0) return;
    const int32_t group = heads / kv.kv_heads;
    // Heads that share keys are read together, unless there would be too few tiles to share out.
    int32_t heads_at_once = std::min(group, kMaxQueries);
    if (rows.row_count * kv.kv_heads < pool_.threads()) heads_at_once = 1;
    const absl::Span<RowRun> runs = RunsOf(context, rows, kMaxQueries / heads_at_once);
    const auto head_tiles = static_cast<int32_t>(CeilDivide(group, heads_at_once));
    const int32_t across = kv.kv_heads * head_tiles;
    const auto tile_count = static_cast<int32_t>(runs.size()) * across;
    pool_.Run(context.lane, tile_count, [&](int32_t index) {
      // The last rows of a prompt see most positions: they start first.
      const RowRun run = runs[runs.size() - 1 - static_cast<size_t>(index / across)];
      const int32_t kv_head = index % across / head_tiles;
      const int32_t head_in_group = index % across % head_tiles * heads_at_once;
      AttentionTile tile;
      tile.row_stride = int64_t{heads} * kv.head_dim;
      const int64_t at =
          run.first * tile.row_stride + int64_t{kv_head * group + head_in_group} * kv.head_dim;
      tile.q = q + at;
      tile.out = out + at;
      tile.row_count = run.count;
      tile.head_count = std::min(heads_at_once, group - head_in_group);
      tile.first_position = rows.positions[run.first];
      tile.kv_head = kv_head;
      tile.layer = layer;
      tile.table = rows.tables[rows.sequence_of_row[run.first]];
      tile.kv = kv;
      kernels_.attention(tile);
    });
  }

 private:
  // Calls work(row) for each row, on the caller alone when there are few.
  template <typename Work>
  void ForRows(Lane lane, int32_t row_count, const Work& work) {
    if (row_count < kParallelRows) {
      for (int32_t row = 0; row < row_count; ++row) work(row);
      return;
    }
    const int32_t rows_per_tile =
        std::max(1, std::min(kGroupRows, row_count / (2 * pool_.threads())));
    const auto tiles = static_cast<int32_t>(CeilDivide(row_count, rows_per_tile));
    pool_.Run(lane, tiles, [&](int32_t tile) {
      const int32_t first = tile * rows_per_tile;
      const int32_t end = std::min(row_count, first + rows_per_tile);
      for (int32_t row = first; row < end; ++row) work(row);
    });
  }

  // Norms and packs the rows of x into the context's scratch.
  PackedRows PackRows(const OpContext& context, const float* x, int32_t row_count, int64_t columns,
                      const RmsNorm& norm, bool blocks, bool plain) {
    PackedRows rows;
    rows.row_count = row_count;
    rows.columns = columns;
    const size_t quantized_bytes = blocks ? QuantizedBytes(row_count, columns) : 0;
    const size_t plain_bytes = plain ? PlainBytes(row_count, columns) : 0;
    CHECK_GE(context.scratch.size(), quantized_bytes + plain_bytes);
    CHECK_EQ(reinterpret_cast<uintptr_t>(context.scratch.data()) % 64, 0u);
    if (blocks) rows.quantized = context.scratch.data();
    if (plain) rows.plain = context.scratch.data() + quantized_bytes;
    // A tile packs all rows of a group, whose elements lie side by side: threads that took rows of
    // one group would fight over its cache lines. Few groups are cut by columns instead.
    const int32_t group_count = rows.group_count();
    const int64_t blocks_per_row = CeilDivide(columns, kBlockColumns);
    const int64_t parts = row_count < kParallelRows
                              ? 1
                              : std::min(CeilDivide(pool_.threads(), group_count),
                                         CeilDivide(blocks_per_row, kPackBlocksMin));
    const int64_t part_columns = CeilDivide(blocks_per_row, parts) * kBlockColumns;
    const auto pack = [&](int32_t tile) {
      const auto group = static_cast<int32_t>(tile / parts);
      PackRow job;
      job.columns = columns;
      job.first_column = std::min(columns, tile % parts * part_columns);
      job.end_column = std::min(columns, job.first_column + part_columns);
      job.norm_weight = norm.weight;
      job.epsilon = norm.epsilon;
      job.width = rows.width(group);
      job.quantized = rows.quantized_group(group);
      job.plain = reinterpret_cast<float*>(rows.plain_group(group));
      for (job.lane = 0; job.lane < job.width; ++job.lane) {
        job.x = x + (rows.first_row(group) + job.lane) * columns;
        kernels_.pack_row(job);
      }
    };
    const auto tile_count = static_cast<int32_t>(group_count * parts);
    if (tile_count == 1) {
      pack(0);
    } else {
      pool_.Run(context.lane, tile_count, pack);
    }
    return rows;
  }

  void LinearTile(const LinearOutput& output, const TileShape& shape, const PackedRows& rows,
                  int32_t index) const {
    const PackedMatrix& matrix = Cast(*output.weight);
    const TileRange range = RangeOf(matrix, shape, rows.group_count(), index);
    for (int32_t group = range.first_group; group < range.end_group; ++group) {
      float* y = output.y + rows.first_row(group) * matrix.rows() + range.panel * kPanelRows;
      MatmulTile tile =
          TileOf(matrix, rows, range.panel, range.panel_count, group, y, matrix.rows());
      tile.accumulate = output.accumulate;
      kernels_.matmul[static_cast<int>(matrix.dtype())](tile);
    }
  }

  // Panel by panel: gate's and up's products stay in the first-level cache.
  void SwiGluTile(const PackedMatrix& gates, const PackedMatrix& ups, const PackedRows& rows,
                  const TileRange& range, float* out) const {
    alignas(64) float gate[kGroupRows * kPanelRows];
    alignas(64) float up[kGroupRows * kPanelRows];
    for (int32_t group = range.first_group; group < range.end_group; ++group) {
      for (int32_t p = 0; p < range.panel_count; ++p) {
        const int64_t panel = range.panel + p;
        const MatmulTile tile = TileOf(gates, rows, panel, 1, group, gate, kPanelRows);
        kernels_.matmul[static_cast<int>(gates.dtype())](tile);
        kernels_.matmul[static_cast<int>(ups.dtype())](
            TileOf(ups, rows, panel, 1, group, up, kPanelRows));
        for (int32_t t = 0; t < tile.width; ++t) {
          kernels_.silu_times(gate + t * kPanelRows, up + t * kPanelRows, tile.last_outputs);
          std::copy_n(gate + t * kPanelRows, tile.last_outputs,
                      out + int64_t{rows.first_row(group) + t} * gates.rows() + panel * kPanelRows);
        }
      }
    }
  }

  // Cuts the rows into runs of at most `limit` rows of one sequence, in the context's scratch.
  static absl::Span<RowRun> RunsOf(const OpContext& context, const BatchRows& rows, int32_t limit) {
    CHECK_GE(context.scratch.size(), static_cast<size_t>(rows.row_count) * sizeof(RowRun));
    auto* runs = reinterpret_cast<RowRun*>(context.scratch.data());
    size_t count = 0;
    for (int32_t row = 0; row < rows.row_count; ++row) {
      if (row > 0 && runs[count - 1].count < limit &&
          rows.sequence_of_row[row] == rows.sequence_of_row[row - 1]) {
        ++runs[count - 1].count;
      } else {
        runs[count++] = {row, 1};
      }
    }
    return absl::MakeSpan(runs, count);
  }

  const KernelTable& kernels_;
  WeightArena arena_;
  WorkerPool pool_;
};

}  // namespace

std::unique_ptr<Backend> MakeCpuBackend(const KernelTable& kernels, int threads) {
  return std::make_unique<CpuBackend>(kernels, threads);
}

}  // namespace ebb::kernels::cpu
