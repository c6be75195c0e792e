// Embedding on the CUDA library's table: exact, as bf16 widens to float32 exactly.
#include <cstdint>
#include <vector>

#include "base/rng.h"
#include "gtest/gtest.h"
#include "tests/kernels/cuda/bf16.h"
#include "tests/kernels/cuda/op_fixture.h"
#include "tests/kernels/cuda/test_seed.h"

namespace ebb::kernels::cuda {
namespace {

class EmbedTest : public OpFixture {};

TEST_F(EmbedTest, CopiesRows) {
  base::Rng rng(TestSeed(1));
  for (const int width : {8, 24, 64, 2048, 2056, 5000}) {
    const int vocabulary = static_cast<int>(rng.Between(1, 50));
    const int rows = static_cast<int>(rng.Between(1, 9));
    const std::vector<uint16_t> table =
        RandomBf16(rng, static_cast<size_t>(vocabulary) * width, 3.0);
    std::vector<int32_t> ids(rows);
    for (int32_t& id : ids) id = static_cast<int32_t>(rng.Between(0, vocabulary - 1));
    const auto device_ids = Upload(ids);
    const auto device_table = Upload(table);
    const auto x = Poisoned<float>(static_cast<size_t>(rows) * width);
    const EbbCudaEmbed op = {device_ids.data(), device_table.data(), x.data(), rows, width};
    Expect(api()->embed(stream(), &op));
    const std::vector<float> got = Download(x);
    for (int r = 0; r < rows; ++r) {
      for (int i = 0; i < width; ++i) {
        ASSERT_EQ(got[r * width + i], Bf16ToDouble(table[ids[r] * width + i]))
            << "width " << width << " row " << r << " column " << i;
      }
    }
  }
}

TEST_F(EmbedTest, TellsWhatItDoesNotServe) {
  const auto ids = Upload(std::vector<int32_t>{0});
  const auto table = Upload(std::vector<uint16_t>(16));
  const auto x = Poisoned<float>(16);
  const EbbCudaEmbed good = {ids.data(), table.data(), x.data(), 1, 8};
  EbbCudaEmbed op = good;
  op.width = 12;
  ExpectInvalid(api()->embed(stream(), &op), "width");
  op = good;
  op.rows = -1;
  ExpectInvalid(api()->embed(stream(), &op), "rows");
  op = good;
  op.table = nullptr;
  ExpectInvalid(api()->embed(stream(), &op), "null");
  op = good;
  op.x = x.data() + 1;
  ExpectInvalid(api()->embed(stream(), &op), "16 bytes");
  ExpectInvalid(api()->embed(stream(), nullptr), "null");
  op = good;
  op.rows = 0;
  Expect(api()->embed(stream(), &op));
}

}  // namespace
}  // namespace ebb::kernels::cuda
