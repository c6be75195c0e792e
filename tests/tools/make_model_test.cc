#include "tools/make_model.h"

#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "base/check.h"
#include "gtest/gtest.h"
#include "model/open_model.h"

namespace ebb::tools {
namespace {

using kernels::DType;
using model::OpenedModel;
using model::OpenModel;

std::string NewDirectory() {
  std::string path = testing::TempDir() + "/make_model_XXXXXX";
  CHECK(mkdtemp(path.data()) != nullptr) << path;
  return path;
}

MakeModelOptions MustParse(const std::vector<std::string>& arguments) {
  const auto options = ParseMakeModel(arguments);
  CHECK(options.ok()) << options.status().ToString();
  return *options;
}

std::string WriteOrDie(const MakeModelOptions& options) {
  std::ostringstream progress;
  const absl::Status status = MakeModel(options, progress);
  CHECK(status.ok()) << status.ToString();
  return progress.str();
}

void ExpectSameWeights(const OpenedModel& a, const OpenedModel& b) {
  for (const model::WeightId id : model::WeightsOf(a.weights->config())) {
    const auto from_a = a.weights->Read(id.kind, id.layer);
    const auto from_b = b.weights->Read(id.kind, id.layer);
    ASSERT_TRUE(from_a.ok() && from_b.ok()) << model::NameOf(id);
    ASSERT_EQ(model::ToFloats(*from_a), model::ToFloats(*from_b)) << model::NameOf(id);
  }
}

TEST(MakeModelTest, WritesRandomModelsThatReadBack) {
  for (const char* shape : {"tiny-llama", "tiny-qwen2", "tiny-qwen3"}) {
    for (const char* dtype : {"bf16", "f32"}) {
      SCOPED_TRACE(std::string(shape) + " " + dtype);
      const std::string source = std::string("random:") + shape;
      const std::string output = NewDirectory() + "/model";
      const std::string progress =
          WriteOrDie(MustParse({source, "--output", output, "--dtype", dtype}));
      EXPECT_NE(progress.find("100 %"), std::string::npos) << progress;
      EXPECT_NE(progress.find(output + " is complete"), std::string::npos) << progress;

      const auto made = OpenModel(output);
      ASSERT_TRUE(made.ok()) << made.status();
      const auto random = OpenModel(source);
      ASSERT_TRUE(random.ok()) << random.status();
      EXPECT_EQ(made->weights->config().architecture, random->weights->config().architecture);
      EXPECT_EQ(made->weights->config().rope_frequencies,
                random->weights->config().rope_frequencies);
      ExpectSameWeights(*made, *random);
      const auto tensor = made->weights->Read(model::WeightKind::kQ, 0);
      ASSERT_TRUE(tensor.ok());
      EXPECT_EQ(tensor->dtype, std::string(dtype) == "f32" ? DType::kF32 : DType::kBF16);
    }
  }
}

// A trailing slash names the same directory; an empty one that is there is as good as none.
TEST(MakeModelTest, TakesAnEmptyDirectory) {
  const std::string output = NewDirectory() + "/";
  WriteOrDie(MustParse({"random:tiny-llama", "--output", output}));
  const auto made = OpenModel(output.substr(0, output.size() - 1));
  EXPECT_TRUE(made.ok()) << made.status();
}

TEST(MakeModelTest, LeavesWhatIsThere) {
  const std::string directory = NewDirectory();
  std::ofstream(directory + "/config.json") << "mine";
  for (const std::string& output : {directory, directory + "/config.json"}) {
    std::ostringstream progress;
    const absl::Status status =
        MakeModel(MustParse({"random:tiny-llama", "--output", output}), progress);
    EXPECT_EQ(status.code(), absl::StatusCode::kAlreadyExists) << status;
  }
  std::string text;
  std::getline(std::ifstream(directory + "/config.json"), text);
  EXPECT_EQ(text, "mine");
}

TEST(MakeModelTest, SaysWhatIsWrongWithThePlace) {
  const std::string output = NewDirectory() + "/a/b";
  std::ostringstream progress;
  const absl::Status status =
      MakeModel(MustParse({"random:tiny-llama", "--output", output}), progress);
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound) << status;
}

TEST(MakeModelTest, AsksForRoomFirst) {
  constexpr int64_t kGiB = int64_t{1} << 30;
  EXPECT_TRUE(CheckSpace("out", 15 * kGiB, 16 * kGiB).ok());
  const absl::Status status = CheckSpace("out", 15 * kGiB, 15 * kGiB);
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(status.message(), "out: the model needs 15.06 GiB, but only 15.00 GiB are free there");
}

TEST(MakeModelTest, RefusesArgumentsThatItDoesNotKnow) {
  const std::vector<std::vector<std::string>> wrong = {
      {},
      {"random:tiny-llama"},
      {"--output", "x"},
      {"random:tiny-llama", "--output"},
      {"random:tiny-llama", "random:tiny-qwen2", "--output", "x"},
      {"random:tiny-llama", "--output", "x", "--dtype", "f16"},
      {"random:tiny-llama", "--output", "x", "--force", "1"},
  };
  for (const auto& arguments : wrong) {
    const auto options = ParseMakeModel(arguments);
    EXPECT_EQ(options.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_NE(options.status().message().find("usage: make_model"), std::string::npos);
    EXPECT_NE(options.status().message().find("llama-3.1-8b"), std::string::npos);
  }
  std::ostringstream progress;
  const absl::Status status =
      MakeModel(MustParse({"random:tiny-lama", "--output", NewDirectory()}), progress);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
}

}  // namespace
}  // namespace ebb::tools
