#include "server/json_scanner.h"

#include "absl/strings/ascii.h"

namespace ebb::server {
namespace {

constexpr size_t kDepthMax = 64;

bool IsJsonSpace(char c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; }
bool IsWord(char c) { return absl::ascii_isalnum(c) || c == '-' || c == '+' || c == '.'; }

}  // namespace

JsonScanner::State JsonScanner::Scan(absl::string_view text) {
  while (state_ == State::kOpen && at_ < text.size()) {
    if (!Step(text[at_])) {
      state_ = State::kBroken;
      break;
    }
    ++at_;
    if (open_.empty()) state_ = State::kEnded;
  }
  return state_;
}

bool JsonScanner::Step(char c) {
  if (in_string_) {
    if (static_cast<unsigned char>(c) < 0x20) return false;
    in_string_ = escaped_ || c != '"';
    escaped_ = !escaped_ && c == '\\';
    return true;
  }
  if (in_word_ && IsWord(c)) return true;
  in_word_ = false;
  return IsJsonSpace(c) ? !open_.empty() : StepOutside(c);
}

bool JsonScanner::StepOutside(char c) {
  const bool wants_value = expect_ == Expect::kValue || expect_ == Expect::kValueOrEnd;
  const bool wants_key = expect_ == Expect::kKey || expect_ == Expect::kKeyOrEnd;
  switch (c) {
    case '{':
    case '[':
      return wants_value && Open(c);
    case '}':
    case ']':
      return Close(c);
    case ':':
      if (expect_ != Expect::kColon) return false;
      expect_ = Expect::kValue;
      return true;
    case ',':
      if (expect_ != Expect::kCommaOrEnd) return false;
      expect_ = open_.back() == '{' ? Expect::kKey : Expect::kValue;
      return true;
    case '"':
      if ((!wants_key && !wants_value) || open_.empty()) return false;
      in_string_ = true;
      expect_ = wants_key ? Expect::kColon : Expect::kCommaOrEnd;
      return true;
    default:
      if (!wants_value || open_.empty() || !IsWord(c)) return false;
      in_word_ = true;
      expect_ = Expect::kCommaOrEnd;
      return true;
  }
}

bool JsonScanner::Open(char c) {
  if (open_.size() == kDepthMax) return false;
  open_.push_back(c);
  expect_ = c == '{' ? Expect::kKeyOrEnd : Expect::kValueOrEnd;
  return true;
}

bool JsonScanner::Close(char c) {
  const bool may_end = expect_ == Expect::kCommaOrEnd || expect_ == Expect::kKeyOrEnd ||
                       expect_ == Expect::kValueOrEnd;
  if (!may_end || open_.empty() || open_.back() != (c == '}' ? '{' : '[')) return false;
  open_.pop_back();
  expect_ = Expect::kCommaOrEnd;
  return true;
}

}  // namespace ebb::server
