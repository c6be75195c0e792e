#include "model/json_document.h"

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/rng.h"
#include "gtest/gtest.h"
#include "model/load_error.h"
#include "nlohmann/json.hpp"
#include "tests/model/seed.h"

namespace ebb::model {
namespace {

std::unique_ptr<const JsonDocument> MustParse(const std::string& text) {
  auto document = JsonDocument::Parse("test.json", text);
  CHECK_OK(document.status());
  return *std::move(document);
}

TEST(JsonDocumentTest, MembersAreFoundAtEveryDepth) {
  const auto document = MustParse(
      R"({"a": {"x": [1, {"y": null}], "b": "inner"}, "b": true, "": [[], {}], "c": -2.5})");
  const JsonValue root = document->root();
  EXPECT_EQ(root.size(), 4u);
  EXPECT_EQ(*root.Find("b")->Bool(), true);
  EXPECT_EQ(*root.Find("c")->Number(), -2.5);
  EXPECT_EQ(*root.Find("a")->Find("b")->String(), "inner");
  EXPECT_EQ(root.Find("a")->Find("x")->size(), 2u);
  EXPECT_FALSE(root.Find("x").has_value());  // A member of a member.
  EXPECT_FALSE(root.Find("b")->Find("x").has_value());
  EXPECT_EQ(root.Find("")->size(), 2u);
  EXPECT_EQ(root.Find("a")->Find("x")->TypeName(), "an array");
}

TEST(JsonDocumentTest, NumbersKeepTheirKind) {
  const auto document =
      MustParse("[9223372036854775807, 9223372036854775808, -9223372036854775808, 1.0, 1e2, true]");
  std::vector<JsonValue> values;
  ASSERT_TRUE(document->root()
                  .ForEachElement([&](JsonValue value) {
                    values.push_back(value);
                    return absl::OkStatus();
                  })
                  .ok());
  ASSERT_EQ(values.size(), 6u);
  EXPECT_EQ(values[0].Int64(), std::numeric_limits<int64_t>::max());
  EXPECT_FALSE(values[1].Int64().has_value());
  EXPECT_EQ(values[1].Number(), 0x1p63);
  EXPECT_EQ(values[2].Int64(), std::numeric_limits<int64_t>::min());
  EXPECT_FALSE(values[3].Int64().has_value());
  EXPECT_EQ(values[4].Number(), 100.0);
  EXPECT_FALSE(values[5].Int64().has_value());
  EXPECT_FALSE(values[5].Number().has_value());
}

TEST(JsonDocumentTest, ErrorsSayWhere) {
  const auto document = JsonDocument::Parse("x.json", "{\"a\": 1,, }", JsonLimits(), 100);
  EXPECT_EQ(LoadErrorReason(document.status()), "json");
  EXPECT_EQ(document.status().message().substr(0, 43),
            "x.json: refused (reason=json, offset=109): ");
}

TEST(JsonDocumentTest, LimitsHoldExactly) {
  JsonLimits limits;
  limits.depth_max = 3;
  limits.value_count_max = 5;
  EXPECT_TRUE(JsonDocument::Parse("x", "[[[]]]", limits).ok());
  EXPECT_EQ(LoadErrorReason(JsonDocument::Parse("x", "[[[[]]]]", limits).status()), "depth");
  EXPECT_TRUE(JsonDocument::Parse("x", "[1,2,3,4]", limits).ok());
  EXPECT_EQ(LoadErrorReason(JsonDocument::Parse("x", "[1,2,3,4,5]", limits).status()), "limit");
  EXPECT_TRUE(JsonDocument::Parse("x", "{\"a\":1,\"b\":2}", limits).ok());
  EXPECT_FALSE(JsonDocument::Parse("x", "{\"a\":1,\"b\":2,\"c\":3}", limits).ok());
}

// Writes a value back as nlohmann's tree has it.
nlohmann::json TreeOf(JsonValue value) {
  if (value.IsNull()) return nullptr;
  if (value.IsString()) return std::string(*value.String());
  if (value.Bool().has_value()) return *value.Bool();
  if (value.Int64().has_value()) return *value.Int64();
  if (value.Number().has_value()) return *value.Number();
  if (value.IsArray()) {
    nlohmann::json array = nlohmann::json::array();
    CHECK_OK(value.ForEachElement([&](JsonValue element) {
      array.push_back(TreeOf(element));
      return absl::OkStatus();
    }));
    return array;
  }
  nlohmann::json object = nlohmann::json::object();
  CHECK_OK(value.ForEachMember([&](absl::string_view key, JsonValue member) {
    CHECK(value.Find(key).has_value());
    object[std::string(key)] = TreeOf(member);
    return absl::OkStatus();
  }));
  CHECK_EQ(object.size(), value.size());
  return object;
}

nlohmann::json RandomTree(base::Rng* rng, int depth) {
  switch (rng->Between(0, depth == 0 ? 4 : 6)) {
    case 0:
      return nullptr;
    case 1:
      return rng->Chance(0.5);
    case 2:
      return rng->Between(-1000, 1000);
    case 3:
      return static_cast<double>(rng->Between(0, 999)) / 8 + 0.0625;
    case 4:
      return std::string(static_cast<size_t>(rng->Between(0, 4)),
                         static_cast<char>(rng->Between('a', 'z'))) +
             "\"\n\u00e9";
    case 5: {
      nlohmann::json array = nlohmann::json::array();
      for (int64_t i = rng->Between(0, 4); i > 0; --i) array.push_back(RandomTree(rng, depth - 1));
      return array;
    }
    default: {
      nlohmann::json object = nlohmann::json::object();
      for (int64_t i = rng->Between(0, 4); i > 0; --i) {
        object[absl::StrCat("k", rng->Between(0, 19))] = RandomTree(rng, depth - 1);
      }
      return object;
    }
  }
}

TEST(JsonDocumentTest, RandomTreesComeBackWhole) {
  const uint64_t seed = TestSeed(1);
  base::Rng rng(seed);
  for (int i = 0; i < 2000; ++i) {
    const nlohmann::json tree = RandomTree(&rng, 5);
    ASSERT_EQ(TreeOf(MustParse(tree.dump())->root()), tree) << "SEED=" << seed;
  }
}

}  // namespace
}  // namespace ebb::model
