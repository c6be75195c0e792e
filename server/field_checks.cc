#include "server/field_checks.h"

#include <cmath>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "google/protobuf/unknown_field_set.h"

namespace ebb::server {
namespace {

constexpr size_t kRequestIdBytesMax = 128;

}  // namespace

absl::Status FieldError(absl::string_view field, absl::string_view problem) {
  return absl::InvalidArgumentError(absl::StrCat(field, ": ", problem));
}

absl::StatusOr<int64_t> IntegerIn(absl::string_view field, int64_t value, int64_t low,
                                  int64_t high) {
  if (value >= low && value <= high) return value;
  return FieldError(field, absl::StrCat("must be from ", low, " to ", high, ", got ", value));
}

absl::StatusOr<double> NumberIn(absl::string_view field, double value, double low, double high) {
  // Also false for NaN.
  if (value >= low && value <= high) return value;
  return FieldError(field,
                    absl::StrCat("must be a number from ", low, " to ", high, ", got ", value));
}

absl::Status CountAtMost(absl::string_view field, int64_t count, int64_t count_max) {
  if (count <= count_max) return absl::OkStatus();
  return FieldError(field, absl::StrCat("must have at most ", count_max, " items, got ", count));
}

absl::Status CheckRequestId(absl::string_view id) {
  if (id.empty() || id.size() > kRequestIdBytesMax) {
    return FieldError("request_id", absl::StrCat("must have 1 to ", kRequestIdBytesMax,
                                                 " characters, got ", id.size()));
  }
  for (const char c : id) {
    if (c <= ' ' || c > '~') {
      return FieldError("request_id", "must be printable ASCII without spaces");
    }
  }
  return absl::OkStatus();
}

// The wire allows 100 levels of messages, ours has five: the recursion is shallow.
absl::Status CheckNoUnknownFields(const google::protobuf::Message& message) {
  const google::protobuf::Reflection* const reflection = message.GetReflection();
  const auto& unknown = reflection->GetUnknownFields(message);
  if (!unknown.empty()) {
    return absl::InvalidArgumentError(absl::StrCat("field number ", unknown.field(0).number(),
                                                   " of ", message.GetDescriptor()->full_name(),
                                                   " is unknown to this server"));
  }
  std::vector<const google::protobuf::FieldDescriptor*> fields;
  reflection->ListFields(message, &fields);
  for (const google::protobuf::FieldDescriptor* field : fields) {
    if (field->cpp_type() != google::protobuf::FieldDescriptor::CPPTYPE_MESSAGE) continue;
    if (!field->is_repeated()) {
      RETURN_IF_ERROR(CheckNoUnknownFields(reflection->GetMessage(message, field)));
      continue;
    }
    for (int i = 0; i < reflection->FieldSize(message, field); ++i) {
      RETURN_IF_ERROR(CheckNoUnknownFields(reflection->GetRepeatedMessage(message, field, i)));
    }
  }
  return absl::OkStatus();
}

}  // namespace ebb::server
