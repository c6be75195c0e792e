#include "config/json_tree.h"

#include "gtest/gtest.h"

namespace ebb::config {
namespace {

std::string ErrorOf(absl::string_view text) {
  const absl::StatusOr<JsonNode> root = ParseJson(text, "f.json");
  if (root.ok()) return "OK";
  EXPECT_EQ(root.status().code(), absl::StatusCode::kInvalidArgument);
  return std::string(root.status().message());
}

TEST(JsonTreeTest, KeepsLinesOrderAndNumbersAsWritten) {
  const absl::StatusOr<JsonNode> root = ParseJson(R"({
  // one
  "b": 4294967297,
  "a": {"x": 1.50, /* two
  lines */ "y": -7
  },
  "c": 123456789012345678901234567890, "d": true,
  "e": "\u00e9", "f": [1, {"k": 1, "k": [2]}], "g": null
}
)",
                                                  "f.json");
  ASSERT_TRUE(root.ok()) << root.status();
  ASSERT_EQ(root->members.size(), 7u);
  const auto expect = [&](size_t i, const char* key, JsonNode::Kind kind, int line,
                          const char* text) {
    EXPECT_EQ(root->members[i].name, key);
    EXPECT_EQ(root->members[i].value.kind, kind) << key;
    EXPECT_EQ(root->members[i].value.line, line) << key;
    EXPECT_EQ(root->members[i].value.text, text) << key;
  };
  expect(0, "b", JsonNode::Kind::kInteger, 3, "4294967297");
  expect(1, "a", JsonNode::Kind::kObject, 4, "");
  expect(2, "c", JsonNode::Kind::kInteger, 7, "123456789012345678901234567890");
  expect(3, "d", JsonNode::Kind::kBool, 7, "true");
  expect(4, "e", JsonNode::Kind::kString, 8, "\u00e9");
  expect(5, "f", JsonNode::Kind::kArray, 8, "");
  expect(6, "g", JsonNode::Kind::kNull, 8, "");
  const JsonNode& a = root->members[1].value;
  ASSERT_EQ(a.members.size(), 2u);
  EXPECT_EQ(a.members[0].value.kind, JsonNode::Kind::kFraction);
  EXPECT_EQ(a.members[0].value.text, "1.50");
  EXPECT_EQ(a.members[1].value.line, 5);
  EXPECT_TRUE(root->members[5].value.members.empty());
}

TEST(JsonTreeTest, SaysWhatIsWrongAndInWhichLine) {
  EXPECT_EQ(ErrorOf("{\n\"a\": 1,\n\"b\": 2,\n\"a\": 3}"),
            "f.json:4: \"a\" appears twice (first in line 2); remove one");
  EXPECT_EQ(ErrorOf("{\"s\": {\n\"a\": 1,\n\"a\": 1}}"),
            "f.json:3: \"a\" appears twice (first in line 2); remove one");
  EXPECT_EQ(ErrorOf(""),
            "f.json:1: not valid JSON: syntax error while parsing value - unexpected end of input; "
            "expected '[', '{', or a literal");
  EXPECT_EQ(ErrorOf("{\n\"a\": 1,\n}"),
            "f.json:3: not valid JSON: syntax error while parsing object key - unexpected '}'; "
            "expected string literal (remove the comma before it)");
  EXPECT_EQ(ErrorOf("{\n\"a\": 1e999}"),
            "f.json:2: not valid JSON: number overflow parsing '1e999'");
  EXPECT_NE(ErrorOf("{} x"), "OK");
  EXPECT_NE(ErrorOf("{\"a\": \"\xff\"}"), "OK");
  EXPECT_NE(ErrorOf("{\"a\": NaN}"), "OK");
}

TEST(JsonTreeTest, RefusesDepthSizeAndCount) {
  const auto nested = [](int depth, const char* open, const char* close) {
    std::string text;
    for (int i = 0; i < depth; ++i) text += open;
    text += "1";
    for (int i = 0; i < depth; ++i) text += close;
    return text;
  };
  EXPECT_EQ(ErrorOf(nested(kJsonDepthMax, "[", "]")), "OK");
  EXPECT_EQ(ErrorOf(nested(kJsonDepthMax, "{\"a\":", "}")), "OK");
  EXPECT_EQ(ErrorOf(nested(kJsonDepthMax + 1, "[", "]")), "f.json:1: nested more than 16 deep");
  EXPECT_EQ(ErrorOf(nested(kJsonDepthMax + 1, "{\"a\":", "}")),
            "f.json:1: nested more than 16 deep");
  // Deep enough to end a recursive parser.
  EXPECT_EQ(ErrorOf(nested(200'000, "[", "]")), "f.json:1: nested more than 16 deep");
  EXPECT_EQ(ErrorOf(std::string(kJsonBytesMax + 1, ' ')),
            "f.json:1: larger than 1048576 bytes; this is not a configuration file");
  std::string many = "{";
  for (size_t i = 0; i <= kJsonMembersMax; ++i) {
    many += (i == 0 ? "\"k" : ",\n\"k") + std::to_string(i) + "\": 1";
  }
  EXPECT_EQ(ErrorOf(many + "}"), "f.json:257: more than 256 keys in one object");
}

}  // namespace
}  // namespace ebb::config
