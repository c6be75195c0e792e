#include "model/utf8.h"

#include <cstring>

#include "base/check.h"

namespace ebb::model {
namespace {

// The shape of a character by its first byte. Only the second byte's range depends on the first.
struct Lead {
  size_t length = 0;  // 0: no character begins so.
  uint8_t second_low = 0x80;
  uint8_t second_high = 0xBF;
};

Lead LeadOf(uint8_t byte) {
  if (byte < 0x80) return {1, 0, 0};
  if (byte < 0xC2) return {};
  if (byte < 0xE0) return {2, 0x80, 0xBF};
  if (byte == 0xE0) return {3, 0xA0, 0xBF};
  if (byte == 0xED) return {3, 0x80, 0x9F};
  if (byte < 0xF0) return {3, 0x80, 0xBF};
  if (byte == 0xF0) return {4, 0x90, 0xBF};
  if (byte < 0xF4) return {4, 0x80, 0xBF};
  if (byte == 0xF4) return {4, 0x80, 0x8F};
  return {};
}

}  // namespace

Utf8Front DecodeUtf8Front(absl::string_view bytes) {
  CHECK(!bytes.empty());
  const auto byte_at = [bytes](size_t i) { return static_cast<uint8_t>(bytes[i]); };
  const Lead lead = LeadOf(byte_at(0));
  if (lead.length == 0) return {Utf8Front::Kind::kInvalid, 1, 0};
  if (lead.length == 1) return {Utf8Front::Kind::kCharacter, 1, byte_at(0)};
  uint32_t code_point = byte_at(0) & (0x7Fu >> lead.length);
  for (size_t i = 1; i < lead.length; ++i) {
    if (i == bytes.size()) return {Utf8Front::Kind::kIncomplete, i, 0};
    const uint8_t low = i == 1 ? lead.second_low : 0x80;
    const uint8_t high = i == 1 ? lead.second_high : 0xBF;
    if (byte_at(i) < low || byte_at(i) > high) return {Utf8Front::Kind::kInvalid, i, 0};
    code_point = code_point << 6 | (byte_at(i) & 0x3Fu);
  }
  return {Utf8Front::Kind::kCharacter, lead.length, code_point};
}

size_t FindInvalidUtf8(absl::string_view bytes) {
  size_t at = 0;
  while (at < bytes.size()) {
    uint64_t eight = 0;
    if (bytes.size() - at >= sizeof(eight)) {
      std::memcpy(&eight, bytes.data() + at, sizeof(eight));
      if ((eight & 0x8080808080808080ull) == 0) {
        at += sizeof(eight);
        continue;
      }
    }
    const Utf8Front front = DecodeUtf8Front(bytes.substr(at));
    if (front.kind != Utf8Front::Kind::kCharacter) return at;
    at += front.length;
  }
  return absl::string_view::npos;
}

void AppendUtf8(uint32_t code_point, std::string* out) {
  CHECK(code_point <= 0x10FFFF && (code_point < 0xD800 || code_point > 0xDFFF));
  const auto tail = [&](int shift) {
    out->push_back(static_cast<char>(0x80 | (code_point >> shift & 0x3F)));
  };
  if (code_point < 0x80) {
    out->push_back(static_cast<char>(code_point));
  } else if (code_point < 0x800) {
    out->push_back(static_cast<char>(0xC0 | code_point >> 6));
    tail(0);
  } else if (code_point < 0x10000) {
    out->push_back(static_cast<char>(0xE0 | code_point >> 12));
    tail(6);
    tail(0);
  } else {
    out->push_back(static_cast<char>(0xF0 | code_point >> 18));
    tail(12);
    tail(6);
    tail(0);
  }
}

}  // namespace ebb::model
