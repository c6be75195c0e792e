// The decode kernels against attention in double, over odd shapes, lengths and splits.
#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "base/rng.h"
#include "kernels/cuda/attention_plan.h"
#include "kernels/cuda/attention_shape.h"
#include "tests/kernels/cuda/attention_problem.h"
#include "tests/kernels/cuda/op_fixture.h"
#include "tests/kernels/cuda/test_seed.h"

namespace ebb::kernels::cuda {
namespace {

// A decode step: a row of q for each lane. A lane of length 0 is a padded one.
struct Step {
  AttentionShape shape;
  std::vector<AttentionSequence> lanes;
  std::vector<uint16_t> q;  // [lanes, heads * head_dim]

  std::vector<int32_t> lengths() const {
    std::vector<int32_t> result;
    for (const AttentionSequence& lane : lanes) result.push_back(lane.length);
    return result;
  }
};

Step RandomStep(base::Rng& rng, const AttentionShape& shape, const std::vector<int32_t>& lengths) {
  Step step = {shape, {}, RandomBf16(rng, lengths.size() * shape.row_width(), 1.5)};
  for (const int32_t length : lengths) step.lanes.push_back(RandomSequence(rng, shape, length));
  return step;
}

// Cuts lanes anywhere between blocks, which the planner does more evenly.
DecodePlan RandomPlan(base::Rng& rng, const AttentionShape& shape,
                      const std::vector<int32_t>& lengths) {
  DecodePlan plan;
  plan.slot_begins.push_back(0);
  for (size_t lane = 0; lane < lengths.size(); ++lane) {
    for (int32_t first = 0; first < lengths[lane];) {
      const int64_t blocks = rng.Between(1, 1 + 200 / shape.block_tokens);
      EbbCudaDecodeSplit split = {};
      split.lane = static_cast<int32_t>(lane);
      split.first_position = first;
      split.token_count = static_cast<int32_t>(
          std::min<int64_t>(lengths[lane] - first, blocks * shape.block_tokens));
      split.slot = static_cast<int32_t>(plan.splits.size());
      plan.splits.push_back(split);
      first += split.token_count;
    }
    plan.slot_begins.push_back(static_cast<int32_t>(plan.splits.size()));
  }
  for (size_t i = plan.splits.size(); i > 1; --i) {
    std::swap(plan.splits[i - 1], plan.splits[rng.Between(0, static_cast<int64_t>(i) - 1)]);
  }
  return plan;
}

// A step in device memory, ready to be queued. Another plan may take the place of its own.
struct DeviceStep {
  DeviceArray<uint16_t> memory;
  DeviceArray<int32_t> indices;
  DeviceArray<int32_t> begins;
  DeviceArray<EbbCudaDecodeSplit> splits;
  DeviceArray<int32_t> split_count;
  DeviceArray<int32_t> slot_begins;
  DeviceArray<uint16_t> q;
  DeviceArray<uint16_t> out;
  DeviceArray<float> partials;
  DeviceArray<float> stats;
  EbbCudaDecodeAttention op = {};

  void SetPlan(const DecodePlan& plan) {
    // Past the last split lies garbage: what an earlier, longer plan left.
    std::vector<EbbCudaDecodeSplit> padded = plan.splits;
    padded.resize(splits.size(), {1 << 30, -5, 1 << 30, -1});
    splits.Upload(padded);
    split_count.Upload({static_cast<int32_t>(plan.splits.size())});
    slot_begins.Upload(plan.slot_begins);
  }
};

class DecodeAttentionTest : public OpFixture {
 protected:
  DeviceStep Prepare(const Step& step, const PagedImage& image, int32_t slots_max) {
    const AttentionShape& shape = step.shape;
    DeviceStep on_device = {Upload(image.memory),
                            Upload(image.indices),
                            Upload(image.begins),
                            Poisoned<EbbCudaDecodeSplit>(slots_max),
                            Poisoned<int32_t>(1),
                            Poisoned<int32_t>(step.lanes.size() + 1),
                            Upload(step.q),
                            Poisoned<uint16_t>(step.q.size()),
                            Poisoned<float>(slots_max * shape.row_width()),
                            Poisoned<float>(slots_max * shape.heads * 2)};
    EbbCudaDecodeAttention& op = on_device.op;
    op.q = on_device.q.data();
    op.out = on_device.out.data();
    op.plan = {on_device.split_count.data(), on_device.splits.data(), on_device.slot_begins.data()};
    op.partials = on_device.partials.data();
    op.partial_stats = on_device.stats.data();
    op.tables = {on_device.indices.data(), on_device.begins.data()};
    op.kv = image.kv;
    op.kv.base = reinterpret_cast<uint8_t*>(on_device.memory.data());
    op.layer = image.layer;
    op.heads = shape.heads;
    op.lanes = static_cast<int32_t>(step.lanes.size());
    op.slots_max = slots_max;
    return on_device;
  }

  std::vector<uint16_t> Run(const Step& step, const PagedImage& image, const DecodePlan& plan,
                            int32_t slots_max) {
    DeviceStep on_device = Prepare(step, image, slots_max);
    on_device.SetPlan(plan);
    Expect(api()->decode_attention(stream(), &on_device.op));
    return Download(on_device.out);
  }

  // A new image each time: block places, layer and layout make no difference.
  std::vector<uint16_t> Run(base::Rng& rng, const Step& step, const DecodePlan& plan) {
    const KvLayout layout = rng.Chance(0.5) ? KvLayout::kPages : KvLayout::kLayerByLayer;
    const PagedImage image = MakeImage(rng, step.shape, step.lanes, layout);
    const auto slots_max = static_cast<int32_t>(plan.splits.size() + rng.Between(1, 3));
    return Run(step, image, plan, slots_max);
  }
};

void ExpectNear(const Step& step, const std::vector<uint16_t>& out) {
  const AttentionShape& shape = step.shape;
  for (size_t lane = 0; lane < step.lanes.size(); ++lane) {
    for (int32_t h = 0; h < shape.heads; ++h) {
      const int64_t at = lane * shape.row_width() + int64_t{h} * shape.head_dim;
      const int32_t length = step.lanes[lane].length;
      AttentionAnswer answer = {std::vector<double>(shape.head_dim, 0.0),
                                std::vector<double>(shape.head_dim, 0.0)};
      if (length > 0) answer = Answer(shape, step.lanes[lane], h, length, &step.q[at]);
      for (int32_t d = 0; d < shape.head_dim; ++d) {
        ASSERT_NEAR(Bf16ToDouble(out[at + d]), answer.out[d], answer.tolerance[d])
            << "lane " << lane << " of length " << length << ", head " << h << " of " << shape.heads
            << "/" << shape.kv_heads << ", dimension " << d << " of " << shape.head_dim
            << ", blocks of " << shape.block_tokens;
      }
    }
  }
}

// Every length around the edges of warps' tiles and of rounds, each in one split.
TEST_F(DecodeAttentionTest, AgreesWithDoubleAroundTileEdges) {
  base::Rng rng(TestSeed(1));
  const std::vector<int32_t> lengths = {1,  7,  8,   15,  16,  17,  31,  32,  33,  63,
                                        64, 65, 127, 128, 129, 191, 192, 193, 256, 300};
  for (int32_t head_dim = 32; head_dim <= 128; head_dim += 32) {
    for (const int32_t block_tokens : {head_dim == 64 ? 16 : 8, head_dim == 96 ? 64 : 256}) {
      const Step step = RandomStep(rng, {2, 1, head_dim, block_tokens}, lengths);
      DecodePlan plan;
      plan.slot_begins.push_back(0);
      for (const int32_t length : lengths) {
        const int32_t slot = plan.slot_begins.back();
        plan.splits.push_back({slot, 0, length, slot});
        plan.slot_begins.push_back(slot + 1);
      }
      ASSERT_NO_FATAL_FAILURE(ExpectNear(step, Run(rng, step, plan)));
    }
  }
}

TEST_F(DecodeAttentionTest, AgreesWithDoubleForRandomShapesAndSplits) {
  base::Rng rng(TestSeed(2));
  for (int trial = 0; trial < 30; ++trial) {
    const AttentionShape shape = RandomShape(rng, 64);
    std::vector<int32_t> lengths(rng.Between(1, 6));
    for (int32_t& length : lengths) {
      length = static_cast<int32_t>(rng.Chance(0.2) ? 0 : rng.Between(1, 400));
    }
    const Step step = RandomStep(rng, shape, lengths);
    const std::vector<uint16_t> out = Run(rng, step, RandomPlan(rng, shape, lengths));
    ASSERT_NO_FATAL_FAILURE(ExpectNear(step, out));
  }
}

TEST_F(DecodeAttentionTest, AgreesWithDoubleUnderThePlannersSplits) {
  base::Rng rng(TestSeed(3));
  for (int trial = 0; trial < 15; ++trial) {
    const AttentionShape shape = RandomShape(rng, 8);
    std::vector<int32_t> lengths(rng.Between(1, 6));
    for (int32_t& length : lengths) {
      length = static_cast<int32_t>(rng.Chance(0.2) ? 0 : rng.Between(1, 700));
    }
    const DecodeShape plan_shape = {shape.heads, shape.kv_heads, shape.block_tokens,
                                    static_cast<int32_t>(rng.Between(1, 8))};
    const int32_t slots_max = DecodeSlotsMax(plan_shape, static_cast<int32_t>(lengths.size()), 700);
    DecodePlan plan;
    PlanDecode(plan_shape, lengths, slots_max, &plan);
    const Step step = RandomStep(rng, shape, lengths);
    const PagedImage image = MakeImage(rng, shape, step.lanes, KvLayout::kPages);
    ASSERT_NO_FATAL_FAILURE(ExpectNear(step, Run(step, image, plan, slots_max)));
  }
}

// The same plan gives the same bits, wherever the blocks lie and in whatever order CTAs run; and a
// lane's bits depend on its own splits alone.
TEST_F(DecodeAttentionTest, ALaneDependsOnItsSplitsAlone) {
  base::Rng rng(TestSeed(4));
  const AttentionShape shape = {8, 2, 64, 16};
  const std::vector<int32_t> lengths = {300, 0, 77, 512};
  const Step step = RandomStep(rng, shape, lengths);
  DecodePlan plan;
  PlanDecode({8, 2, 16, 4}, lengths, 10, &plan);
  const std::vector<uint16_t> together = Run(rng, step, plan);
  EXPECT_EQ(Run(rng, step, plan), together);

  const auto row = static_cast<int64_t>(shape.row_width());
  Step alone = {shape, {step.lanes[3]}, {step.q.begin() + 3 * row, step.q.begin() + 4 * row}};
  DecodePlan own;
  for (EbbCudaDecodeSplit split : plan.splits) {
    if (split.lane != 3) continue;
    split.lane = 0;
    split.slot -= plan.slot_begins[3];
    own.splits.push_back(split);
  }
  ASSERT_GE(own.splits.size(), 2u);
  own.slot_begins = {0, static_cast<int32_t>(own.splits.size())};
  const std::vector<uint16_t> row_alone = Run(rng, alone, own);
  EXPECT_TRUE(std::equal(row_alone.begin(), row_alone.end(), together.begin() + 3 * row));
}

// Scores of about 1000 that rise from split to split, so that merging must take the maximum off.
// Products of query and key are whole numbers, which float32 sums exactly.
TEST_F(DecodeAttentionTest, LargeScoresDoNotOverflow) {
  base::Rng rng(TestSeed(5));
  const AttentionShape shape = {1, 1, 32, 8};
  Step step = RandomStep(rng, shape, {300});
  for (uint16_t& q : step.q) q = DoubleToBf16(8);
  for (int32_t p = 0; p < 300; ++p) {
    for (int32_t d = 0; d < 32; ++d) step.lanes[0].keys[p * 32 + d] = DoubleToBf16(p / 16);
  }
  ExpectNear(step, Run(rng, step, RandomPlan(rng, shape, {300})));
}

TEST_F(DecodeAttentionTest, ANanStaysInItsLaneAndHeads) {
  base::Rng rng(TestSeed(6));
  const AttentionShape shape = {4, 2, 32, 8};
  Step step = RandomStep(rng, shape, {90, 90, 90});
  const DecodePlan plan = RandomPlan(rng, shape, step.lengths());
  const std::vector<uint16_t> clean = Run(rng, step, plan);
  step.lanes[1].keys[(70 * 2 + 1) * 32] = kBf16Nan;  // Key head 1: heads 2 and 3.
  const std::vector<uint16_t> out = Run(rng, step, plan);
  for (int64_t i = 0; i < static_cast<int64_t>(out.size()); ++i) {
    const bool sees = i / shape.row_width() == 1 && i % shape.row_width() / 32 >= 2;
    if (sees) {
      ASSERT_TRUE(std::isnan(Bf16ToDouble(out[i]))) << i;
    } else {
      ASSERT_EQ(out[i], clean[i]) << i;
    }
  }
}

// One captured launch serves steps of other lengths: only the plan in device memory changes.
TEST_F(DecodeAttentionTest, ACapturedLaunchFollowsThePlan) {
  base::Rng rng(TestSeed(8));
  const AttentionShape shape = {4, 1, 64, 16};
  const std::vector<int32_t> lengths_max = {400, 300, 200};
  const DecodeShape plan_shape = {shape.heads, shape.kv_heads, shape.block_tokens, 3};
  const int32_t slots_max = DecodeSlotsMax(plan_shape, 3, 400);
  const Step step = RandomStep(rng, shape, lengths_max);
  const PagedImage image = MakeImage(rng, shape, step.lanes, KvLayout::kPages);
  DeviceStep on_device = Prepare(step, image, slots_max);
  EbbCudaGraph* graph = nullptr;
  Expect(api()->capture_begin(stream()));
  Expect(api()->decode_attention(stream(), &on_device.op));
  Expect(api()->capture_end(stream(), &graph));
  ASSERT_NE(graph, nullptr);
  for (const std::vector<int32_t>& lengths :
       {lengths_max, std::vector<int32_t>{1, 0, 0}, std::vector<int32_t>{65, 300, 64}}) {
    DecodePlan plan;
    PlanDecode(plan_shape, lengths, slots_max, &plan);
    on_device.SetPlan(plan);
    on_device.out.Poison();
    Expect(api()->graph_launch(graph, stream()));
    Step shorter = step;
    for (size_t lane = 0; lane < lengths.size(); ++lane) {
      shorter.lanes[lane].length = lengths[lane];
    }
    ExpectNear(shorter, Download(on_device.out));
  }
  api()->graph_destroy(graph);
}

TEST_F(DecodeAttentionTest, PaddedLanesAreZero) {
  base::Rng rng(TestSeed(7));
  const AttentionShape shape = {2, 1, 96, 16};
  const Step step = RandomStep(rng, shape, {0, 0, 0});
  const PagedImage image = MakeImage(rng, shape, step.lanes, KvLayout::kPages);
  DecodePlan plan;
  PlanDecode({2, 1, 16, 4}, step.lengths(), 4, &plan);
  EXPECT_EQ(Run(step, image, plan, 4), std::vector<uint16_t>(step.q.size(), 0));
}

TEST_F(DecodeAttentionTest, RefusesWhatItDoesNotServe) {
  const DeviceArray<uint16_t> memory = Upload(std::vector<uint16_t>(4096));
  const DeviceArray<float> floats = Upload(std::vector<float>(4096));
  const DeviceArray<int32_t> table = Upload(std::vector<int32_t>(2));
  const DeviceArray<EbbCudaDecodeSplit> splits = Upload(std::vector<EbbCudaDecodeSplit>(1));
  EbbCudaDecodeAttention good = {};
  good.q = good.out = memory.data();
  good.plan = {table.data(), splits.data(), table.data()};
  good.partials = good.partial_stats = floats.data();
  good.tables = {table.data(), table.data()};
  good.kv = {reinterpret_cast<uint8_t*>(memory.data()), 4096, 4096, 2048, 1, 1, 32, 8};
  good.heads = 1;
  good.slots_max = 1;
  const auto refused = [&](const char* text, auto change) {
    EbbCudaDecodeAttention op = good;
    op.lanes = 1;
    change(op);
    ExpectInvalid(api()->decode_attention(stream(), &op), text);
  };
  refused("head_dim", [](auto& op) { op.kv.head_dim = 256; });
  refused("block_tokens", [](auto& op) { op.kv.block_tokens = 12; });
  refused("heads", [](auto& op) { op.kv.kv_heads = 2, op.heads = 3; });
  refused("layer", [](auto& op) { op.layer = 1; });
  refused("lanes", [](auto& op) { op.lanes = -1; });
  refused("slots_max", [](auto& op) { op.slots_max = 0; });
  refused("grid", [](auto& op) { op.slots_max = 1 << 30, op.heads = 8; });
  refused("null", [](auto& op) { op.out = nullptr; });
  refused("null", [](auto& op) { op.plan.split_count = nullptr; });
  refused("null", [](auto& op) { op.partial_stats = nullptr; });
  refused("aligned", [](auto& op) { op.kv.base += 8; });
  refused("stride", [](auto& op) { op.kv.layer_stride_bytes = 8; });
  ExpectInvalid(api()->decode_attention(stream(), nullptr), "null");
  Expect(api()->decode_attention(stream(), &good));  // No lanes, no work.
}

}  // namespace
}  // namespace ebb::kernels::cuda
