#include "model/json_fields.h"

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "model/load_error.h"

namespace ebb::model {

std::optional<JsonValue> JsonFields::Find(absl::string_view key) const {
  const std::optional<JsonValue> value = object_.Find(key);
  if (!value.has_value() || value->IsNull()) return std::nullopt;
  return value;
}

bool JsonFields::IsNull(absl::string_view key) const {
  const std::optional<JsonValue> value = object_.Find(key);
  return value.has_value() && value->IsNull();
}

absl::Status JsonFields::Error(absl::string_view reason, absl::string_view message) const {
  return LoadError(absl::StatusCode::kInvalidArgument, file_, reason, kNoOffset, message);
}

absl::Status JsonFields::Unsupported(absl::string_view message) const {
  return LoadError(absl::StatusCode::kUnimplemented, file_, "unsupported", kNoOffset, message);
}

absl::Status JsonFields::TypeError(absl::string_view key, absl::string_view wanted,
                                   JsonValue value) const {
  return Error("type", absl::StrCat(key, " must be ", wanted, " but is ", value.TypeName(),
                                    ". Save the model again."));
}

absl::Status JsonFields::ReadCount(absl::string_view key, int32_t max, int32_t* out) const {
  const std::optional<JsonValue> value = Find(key);
  if (!value.has_value()) {
    return LoadError(absl::StatusCode::kNotFound, file_, "missing_key", kNoOffset,
                     absl::StrCat(key, " is missing. Save the model again."));
  }
  if (!value->Number().has_value()) return TypeError(key, "an integer", *value);
  const std::optional<int64_t> count = value->Int64();
  if (!count.has_value() || *count < 1 || *count > max) {
    return Error("hparams",
                 absl::StrCat(key, " is ", *value->Number(), "; whole numbers from 1 to ", max,
                              " are possible. Save the model again."));
  }
  *out = static_cast<int32_t>(*count);
  return absl::OkStatus();
}

absl::Status JsonFields::ReadOptionalCount(absl::string_view key, int32_t max, int32_t* out) const {
  return Has(key) ? ReadCount(key, max, out) : absl::OkStatus();
}

absl::Status JsonFields::ReadOptionalNumber(absl::string_view key, double min, double max,
                                            double* out) const {
  const std::optional<JsonValue> value = Find(key);
  if (!value.has_value()) return absl::OkStatus();
  if (!value->Number().has_value()) return TypeError(key, "a number", *value);
  const double number = *value->Number();
  if (!(number >= min && number <= max)) {
    return Error("hparams", absl::StrCat(key, " is ", number, "; it must be a number from ", min,
                                         " to ", max, ". Save the model again."));
  }
  *out = number;
  return absl::OkStatus();
}

absl::Status JsonFields::ReadOptionalBool(absl::string_view key, bool* out) const {
  const std::optional<JsonValue> value = Find(key);
  if (!value.has_value()) return absl::OkStatus();
  if (!value->Bool().has_value()) return TypeError(key, "true or false", *value);
  *out = *value->Bool();
  return absl::OkStatus();
}

absl::Status JsonFields::ReadOptionalString(absl::string_view key, std::string* out) const {
  const std::optional<JsonValue> value = Find(key);
  if (!value.has_value()) return absl::OkStatus();
  if (!value->IsString()) return TypeError(key, "a string", *value);
  *out = std::string(*value->String());
  return absl::OkStatus();
}

absl::StatusOr<std::optional<JsonValue>> JsonFields::OptionalObject(absl::string_view key) const {
  const std::optional<JsonValue> value = Find(key);
  if (value.has_value() && !value->IsObject()) return TypeError(key, "an object", *value);
  return value;
}

absl::StatusOr<std::optional<JsonValue>> JsonFields::OptionalArray(absl::string_view key) const {
  const std::optional<JsonValue> value = Find(key);
  if (value.has_value() && !value->IsArray()) return TypeError(key, "an array", *value);
  return value;
}

absl::StatusOr<JsonFields> FieldsOf(const JsonDocument& document) {
  if (document.root().IsObject()) return JsonFields(document.name(), document.root());
  return LoadError(
      absl::StatusCode::kInvalidArgument, document.name(), "type", kNoOffset,
      absl::StrCat("it is ", document.root().TypeName(), ", not an object. Save the model again."));
}

}  // namespace ebb::model
