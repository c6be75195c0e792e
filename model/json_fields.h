// JsonFields: the members of a JSON object, read by name, type and range.
//
// Errors read as load_error.h says and name the key: missing_key (NOT_FOUND), type, and hparams for
// a number outside its range. A member that is null counts as absent: Hugging Face's files write
// what is not set that way.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "model/json_document.h"

namespace ebb::model {

// A view of `object`, for as long as its document and `file` live.
class JsonFields {
 public:
  // REQUIRES: `object` is an object.
  JsonFields(absl::string_view file, JsonValue object) : file_(file), object_(object) {}

  absl::string_view file() const { return file_; }
  std::optional<JsonValue> Find(absl::string_view key) const;
  bool Has(absl::string_view key) const { return Find(key).has_value(); }
  // The key is there and says null.
  bool IsNull(absl::string_view key) const;

  // Integers within [1, max].
  absl::Status ReadCount(absl::string_view key, int32_t max, int32_t* out) const;
  // This and what follows leave `out` alone when the key is absent.
  absl::Status ReadOptionalCount(absl::string_view key, int32_t max, int32_t* out) const;
  absl::Status ReadOptionalNumber(absl::string_view key, double min, double max, double* out) const;
  absl::Status ReadOptionalBool(absl::string_view key, bool* out) const;
  absl::Status ReadOptionalString(absl::string_view key, std::string* out) const;
  // The object or array at `key`; empty when absent.
  absl::StatusOr<std::optional<JsonValue>> OptionalObject(absl::string_view key) const;
  absl::StatusOr<std::optional<JsonValue>> OptionalArray(absl::string_view key) const;

  // INVALID_ARGUMENT about this file.
  absl::Status Error(absl::string_view reason, absl::string_view message) const;
  // UNIMPLEMENTED, reason unsupported.
  absl::Status Unsupported(absl::string_view message) const;

 private:
  absl::Status TypeError(absl::string_view key, absl::string_view wanted, JsonValue value) const;

  absl::string_view file_;
  JsonValue object_;
};

// The document's root as fields. INVALID_ARGUMENT (reason=type) when it is no object.
absl::StatusOr<JsonFields> FieldsOf(const JsonDocument& document);

}  // namespace ebb::model
