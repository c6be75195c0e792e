#include "server/client_text.h"

#include "absl/strings/str_cat.h"
#include "engine/lost_status.h"

namespace ebb::server {

bool IsOurFault(const absl::Status& status) {
  return absl::IsInternal(status) || absl::IsUnknown(status) || absl::IsDataLoss(status);
}

std::optional<std::string> TextInstead(const absl::Status& status, absl::string_view request_id) {
  if (engine::IsDeviceLost(status)) {
    return "the server lost its device and is ending; ask another one";
  }
  if (!IsOurFault(status)) return std::nullopt;
  if (request_id.empty()) return "the server failed to compute this; its log has the reason";
  return absl::StrCat(
      "the server failed to compute this request; its log has the reason under request_id ",
      request_id);
}

std::string ClientText(const absl::Status& status, absl::string_view request_id) {
  return TextInstead(status, request_id).value_or(std::string(status.message()));
}

}  // namespace ebb::server
