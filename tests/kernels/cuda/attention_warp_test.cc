// What the attention kernels rest on: a tile of which a row sees nothing leaves the row's state as
// it was, to the last bit of its float32 numbers, which bf16 results would mostly hide. Runs the
// device code in a kernel of its own, on the emulator alone.
#include "kernels/cuda/attention_warp.cuh"

#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <vector>

#include "base/rng.h"
#include "tests/kernels/cuda/attention_problem.h"
#include "tests/kernels/cuda/test_seed.h"

namespace ebb::kernels::cuda {
namespace {

constexpr int kHeadDim = 32;
constexpr int kKeys = 16;
constexpr int kRowNumbers = SharedRows<kHeadDim>::kRowBytes / 2;
constexpr int kTileNumbers = kKeys * kRowNumbers;

// All that a lane holds of its two rows.
struct LaneState {
  float max[2];
  float sum[2];
  float out[2][kHeadDim / 8][2];
};

struct WarpParams {
  const uint16_t* query;     // [16, head_dim]
  const uint16_t* keys;      // [tiles, 16, kRowNumbers]
  const uint16_t* values;    // as keys
  const int (*visible)[16];  // [tiles]: keys that each row sees
  int tiles;
  LaneState* state;  // [32]
};

__global__ void WarpKernel(const WarpParams params) {
  EBB_DYNAMIC_SHARED(shared);
  auto* const keys = reinterpret_cast<uint16_t*>(shared);
  uint16_t* const values = keys + kTileNumbers;
  const int lane = static_cast<int>(threadIdx.x);
  const int row = lane / 4;
  WarpAttention<kHeadDim, kKeys> attention(params.query + row * kHeadDim,
                                           params.query + (row + 8) * kHeadDim, 0.2550f);
  for (int t = 0; t < params.tiles; ++t) {
    __syncwarp();
    for (int i = lane; i < kTileNumbers; i += kWarpLanes) {
      keys[i] = params.keys[t * kTileNumbers + i];
      values[i] = params.values[t * kTileNumbers + i];
    }
    __syncwarp();
    const int visible[2] = {params.visible[t][row], params.visible[t][row + 8]};
    attention.Attend(shared, shared + kTileNumbers * 2, visible);
  }
  attention.Finish();
  LaneState& state = params.state[lane];
  for (int half = 0; half < 2; ++half) {
    state.max[half] = attention.max(half);
    state.sum[half] = attention.sum(half);
    for (int n = 0; n < kHeadDim / 8; ++n) {
      for (int i = 0; i < 2; ++i) state.out[half][n][i] = attention.out(half, n, i);
    }
  }
}

struct Tiles {
  std::vector<uint16_t> keys;
  std::vector<uint16_t> values;
  std::vector<std::array<int, 16>> visible;
};

std::vector<LaneState> RunTiles(const std::vector<uint16_t>& query, const Tiles& tiles) {
  std::vector<LaneState> state(kWarpLanes);
  const WarpParams params = {query.data(),
                             tiles.keys.data(),
                             tiles.values.data(),
                             reinterpret_cast<const int(*)[16]>(tiles.visible.data()),
                             static_cast<int>(tiles.visible.size()),
                             state.data()};
  simt::Run(WarpKernel, dim3(1), dim3(kWarpLanes), kTileNumbers * 4, params);
  return state;
}

TEST(WarpAttention, ATileThatARowDoesNotSeeChangesNoBitOfIt) {
  base::Rng rng(TestSeed(1));
  for (int trial = 0; trial < 200; ++trial) {
    const std::vector<uint16_t> query = RandomBf16(rng, 16 * kHeadDim, 4.0);
    Tiles all;
    Tiles seen;  // Without the tiles that row 3 sees nothing of; the same for row 12.
    constexpr int kRows[] = {3, 12};
    for (int t = 0; t < 4; ++t) {
      std::array<int, 16> visible;
      for (int& keys : visible) keys = static_cast<int>(rng.Between(-3, kKeys + 3));
      const bool hidden = t == 1 || t == 3 || trial % 2 == 0;
      for (const int row : kRows) {
        visible[row] = static_cast<int>(hidden ? rng.Between(-3, 0) : rng.Between(1, kKeys));
      }
      const std::vector<uint16_t> keys = RandomBf16(rng, kTileNumbers, 4.0);
      const std::vector<uint16_t> values = RandomBf16(rng, kTileNumbers, 100.0);
      for (Tiles* tiles : {&all, &seen}) {
        if (tiles == &seen && hidden) continue;
        tiles->keys.insert(tiles->keys.end(), keys.begin(), keys.end());
        tiles->values.insert(tiles->values.end(), values.begin(), values.end());
        tiles->visible.push_back(visible);
      }
    }
    const std::vector<LaneState> with = RunTiles(query, all);
    const std::vector<LaneState> without = RunTiles(query, seen);
    for (const int row : kRows) {
      for (int lane = row % 8 * 4; lane < row % 8 * 4 + 4; ++lane) {
        const int half = row / 8;
        ASSERT_EQ(with[lane].max[half], without[lane].max[half]);
        ASSERT_EQ(with[lane].sum[half], without[lane].sum[half]);
        ASSERT_EQ(0, std::memcmp(with[lane].out[half], without[lane].out[half],
                                 sizeof(with[lane].out[half])));
        ASSERT_FALSE(std::isnan(with[lane].sum[half]));
      }
    }
  }
}

}  // namespace
}  // namespace ebb::kernels::cuda
