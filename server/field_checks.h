// Checks of single fields of a request. Every error is INVALID_ARGUMENT and begins with the field's
// path: "stopping.max_tokens: must be from 1 to 2147483647, got -5".
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "google/protobuf/message.h"

namespace ebb::server {

absl::Status FieldError(absl::string_view field, absl::string_view problem);

// `value`, if it is in [low, high].
absl::StatusOr<int64_t> IntegerIn(absl::string_view field, int64_t value, int64_t low,
                                  int64_t high);
// `value`, if it is a number in [low, high].
absl::StatusOr<double> NumberIn(absl::string_view field, double value, double low, double high);

absl::Status CountAtMost(absl::string_view field, int64_t count, int64_t count_max);

// A name that a client gives its request: see GenerateRequest.request_id.
absl::Status CheckRequestId(absl::string_view id);

// A field of a newer protocol must not be ignored: what it asks for would silently not happen.
absl::Status CheckNoUnknownFields(const google::protobuf::Message& message);

}  // namespace ebb::server
