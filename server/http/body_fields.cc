#include "server/http/body_fields.h"

#include <cmath>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status_macros.h"
#include "model/load_error.h"
#include "server/field_checks.h"

namespace ebb::server {
namespace {

using model::JsonValue;

constexpr int32_t kDepthMax = 64;
constexpr uint32_t kValuesMax = 1 << 20;
// Whole numbers that a double holds exactly.
constexpr double kWholeMax = 9007199254740992.0;

absl::Status WrongType(absl::string_view name, absl::string_view wanted, JsonValue value) {
  return FieldError(name, absl::StrCat("must be ", wanted, ", got ", value.TypeName()));
}

// The document's refusals are worded for files.
absl::Status BodyError(const absl::Status& status) {
  const std::string reason = model::LoadErrorReason(status);
  if (reason == "depth") {
    return FieldError("body", absl::StrCat("must nest at most ", kDepthMax, " levels deep"));
  }
  if (reason == "limit") {
    return FieldError("body", absl::StrCat("must hold at most ", kValuesMax, " values"));
  }
  if (reason == "dup_key") return FieldError("body", "has a key twice in one object");
  constexpr absl::string_view kOffset = "offset=";
  const absl::string_view message = status.message();
  const size_t begin = message.find(kOffset);
  int64_t offset = 0;
  if (begin != absl::string_view::npos) {
    const absl::string_view digits = message.substr(begin + kOffset.size());
    const size_t end = digits.find_first_not_of("0123456789");
    if (absl::SimpleAtoi(digits.substr(0, end), &offset)) {
      return FieldError("body", absl::StrCat("is not valid JSON at byte ", offset));
    }
  }
  return FieldError("body", "is not valid JSON");
}

// As deep as the body nests.
void AppendText(JsonValue value, std::string* out) {
  const char* comma = "";
  if (value.IsObject()) {
    out->push_back('{');
    CHECK_OK(value.ForEachMember([&](absl::string_view key, JsonValue member) {
      absl::StrAppend(out, std::exchange(comma, ","), JsonString(key), ":");
      AppendText(member, out);
      return absl::OkStatus();
    }));
    out->push_back('}');
  } else if (value.IsArray()) {
    out->push_back('[');
    CHECK_OK(value.ForEachElement([&](JsonValue element) {
      out->append(std::exchange(comma, ","));
      AppendText(element, out);
      return absl::OkStatus();
    }));
    out->push_back(']');
  } else if (const std::optional<absl::string_view> text = value.String()) {
    out->append(JsonString(*text));
  } else if (const std::optional<bool> truth = value.Bool()) {
    out->append(*truth ? "true" : "false");
  } else if (const std::optional<int64_t> integer = value.Int64()) {
    absl::StrAppend(out, *integer);
  } else if (const std::optional<double> number = value.Number()) {
    out->append(nlohmann::json(*number).dump());
  } else {
    out->append("null");
  }
}

}  // namespace

absl::StatusOr<std::unique_ptr<const model::JsonDocument>> ParseBody(absl::string_view text) {
  model::JsonLimits limits;
  limits.depth_max = kDepthMax;
  limits.value_count_max = kValuesMax;
  if (text.empty()) return FieldError("body", "is empty; a JSON object is needed");
  auto document = model::JsonDocument::Parse("body", text, limits);
  if (!document.ok()) return BodyError(document.status());
  if (!(*document)->root().IsObject()) {
    return FieldError("body",
                      absl::StrCat("must be a JSON object, got ", (*document)->root().TypeName()));
  }
  return document;
}

std::optional<JsonValue> FindField(JsonValue object, absl::string_view name) {
  const std::optional<JsonValue> value = object.Find(name);
  if (!value.has_value() || value->IsNull()) return std::nullopt;
  return value;
}

std::string JsonString(absl::string_view text) { return nlohmann::json(std::string(text)).dump(); }

std::string TextOf(JsonValue value) {
  std::string text;
  AppendText(value, &text);
  return text;
}

absl::StatusOr<int64_t> IntegerOf(JsonValue value, absl::string_view name) {
  if (const std::optional<int64_t> integer = value.Int64()) return *integer;
  const std::optional<double> number = value.Number();
  if (!number.has_value()) return WrongType(name, "a whole number", value);
  if (std::trunc(*number) != *number) return FieldError(name, "must be a whole number");
  if (std::abs(*number) > kWholeMax) return FieldError(name, "is out of range");
  return static_cast<int64_t>(*number);
}

absl::Status ReadBool(JsonValue object, absl::string_view name, absl::FunctionRef<void(bool)> set) {
  const std::optional<JsonValue> value = FindField(object, name);
  if (!value.has_value()) return absl::OkStatus();
  const std::optional<bool> boolean = value->Bool();
  if (!boolean.has_value()) return WrongType(name, "true or false", *value);
  set(*boolean);
  return absl::OkStatus();
}

absl::Status ReadInteger(JsonValue object, absl::string_view name,
                         absl::FunctionRef<void(int64_t)> set) {
  const std::optional<JsonValue> value = FindField(object, name);
  if (!value.has_value()) return absl::OkStatus();
  ASSIGN_OR_RETURN(const int64_t integer, IntegerOf(*value, name));
  set(integer);
  return absl::OkStatus();
}

absl::Status ReadNumber(JsonValue object, absl::string_view name,
                        absl::FunctionRef<void(double)> set) {
  const std::optional<JsonValue> value = FindField(object, name);
  if (!value.has_value()) return absl::OkStatus();
  const std::optional<double> number = value->Number();
  if (!number.has_value()) return WrongType(name, "a number", *value);
  set(*number);
  return absl::OkStatus();
}

absl::Status ReadString(JsonValue object, absl::string_view name,
                        absl::FunctionRef<void(absl::string_view)> set) {
  const std::optional<JsonValue> value = FindField(object, name);
  if (!value.has_value()) return absl::OkStatus();
  const std::optional<absl::string_view> text = value->String();
  if (!text.has_value()) return WrongType(name, "a string", *value);
  set(*text);
  return absl::OkStatus();
}

absl::Status ReadStrings(JsonValue object, absl::string_view name,
                         absl::FunctionRef<void(absl::string_view)> set) {
  const std::optional<JsonValue> value = FindField(object, name);
  if (!value.has_value()) return absl::OkStatus();
  if (!value->IsArray()) return ReadString(object, name, set);
  int64_t i = 0;
  return value->ForEachElement([&](JsonValue element) {
    const std::optional<absl::string_view> text = element.String();
    if (!text.has_value()) return WrongType(absl::StrCat(name, "[", i, "]"), "a string", element);
    ++i;
    set(*text);
    return absl::OkStatus();
  });
}

absl::Status ReadIntegers(JsonValue object, absl::string_view name,
                          absl::FunctionRef<void(int64_t)> set) {
  const std::optional<JsonValue> value = FindField(object, name);
  if (!value.has_value()) return absl::OkStatus();
  if (!value->IsArray()) return WrongType(name, "a list of whole numbers", *value);
  int64_t i = 0;
  return value->ForEachElement([&](JsonValue element) -> absl::Status {
    // The name is only put together for an error: a list may be long.
    if (const std::optional<int64_t> integer = element.Int64()) {
      set(*integer);
    } else {
      ASSIGN_OR_RETURN(const int64_t whole, IntegerOf(element, absl::StrCat(name, "[", i, "]")));
      set(whole);
    }
    ++i;
    return absl::OkStatus();
  });
}

}  // namespace ebb::server
