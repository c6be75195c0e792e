#include "server/tool_calls.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "server/tool_call_json.h"

namespace ebb::server {
namespace {

constexpr absl::string_view kHermesMark = "<tool_call>";
constexpr absl::string_view kHermesEnd = "</tool_call>";
constexpr absl::string_view kMistralMark = "[TOOL_CALLS]";
constexpr absl::string_view kMistralArguments = "[ARGS]";
constexpr absl::string_view kMistralId = "[CALL_ID]";
constexpr absl::string_view kPythonTag = "<|python_tag|>";
constexpr size_t kSpaceMax = 64;  // Of white space inside of a call's frame.
constexpr size_t kNameMax = 256;

size_t SpaceBytes(absl::string_view text, absl::string_view more = "") {
  size_t bytes = 0;
  while (bytes < text.size() &&
         (absl::ascii_isspace(text[bytes]) || absl::StrContains(more, text.substr(bytes, 1)))) {
    ++bytes;
  }
  return bytes;
}

// The bytes at the end of `text` that may begin `mark`.
size_t MarkBegun(absl::string_view text, absl::string_view mark) {
  for (size_t bytes = std::min(text.size(), mark.size() - 1); bytes > 0; --bytes) {
    if (absl::StartsWith(mark, text.substr(text.size() - bytes))) return bytes;
  }
  return 0;
}

// `text` is a part of `whole`, from its beginning.
bool Begins(absl::string_view text, absl::string_view whole) {
  return absl::StartsWith(whole, text);
}

}  // namespace

ToolCallFormat DetectToolCallFormat(absl::string_view chat_template) {
  const auto has = [&](absl::string_view text) { return absl::StrContains(chat_template, text); };
  if (!has("tool")) return ToolCallFormat::kNone;
  if (has(kMistralMark)) return ToolCallFormat::kMistral;
  if (has(kHermesMark)) {
    // These write the arguments as tags of their own, without their types.
    const bool as_tags = has("<function=") || has("<arg_key>") || has("<parameter");
    return as_tags ? ToolCallFormat::kNone : ToolCallFormat::kHermes;
  }
  const bool as_json = has("\"parameters\": ") || has("\"arguments\": ") || has(kPythonTag);
  // Marks of families that we do not read.
  for (const absl::string_view other :
       {"tool▁call", "<|tool_call", "<tool_calls>", "<function=", "<|channel|>", "<|action_start|>",
        "tool_calls_section", "functools"}) {
    if (has(other)) return ToolCallFormat::kNone;
  }
  return as_json ? ToolCallFormat::kJson : ToolCallFormat::kNone;
}

ToolCallPiece ToolCallParser::Feed(absl::string_view piece) {
  held_.append(piece.data(), piece.size());
  ToolCallPiece out;
  while (Step(/*at_end=*/false, &out)) {
  }
  return out;
}

ToolCallPiece ToolCallParser::Flush() {
  ToolCallPiece out;
  while (Step(/*at_end=*/true, &out)) {
  }
  return out;
}

// Does what can be done with the front of `held_`; false: no more can be done now.
bool ToolCallParser::Step(bool at_end, ToolCallPiece* out) {
  if (held_.empty()) return false;
  if (format_ == ToolCallFormat::kNone || is_plain_) {
    Show(held_.size(), out);
    return false;
  }
  if (format_ == ToolCallFormat::kJson) return StepJson(at_end, out);
  if (!at_mark_) return StepText(at_end, out);
  Candidate candidate = format_ == ToolCallFormat::kHermes ? ReadHermes(at_end) : ReadMistral();
  if (candidate.kind == Candidate::Kind::kOpen && !at_end) return false;
  at_mark_ = false;
  if (candidate.kind == Candidate::Kind::kCalls) {
    TakeCalls(std::move(candidate), out);
  } else {  // The mark is text; what follows it may hold another.
    scanner_ = JsonScanner();
    Show(format_ == ToolCallFormat::kHermes ? kHermesMark.size() : kMistralMark.size(), out);
  }
  return true;
}

void ToolCallParser::TakeCalls(Candidate candidate, ToolCallPiece* out) {
  held_.erase(0, candidate.bytes);
  for (ToolCall& call : candidate.calls) out->calls.push_back(std::move(call));
  scanner_ = JsonScanner();
  after_call_ = true;
}

void ToolCallParser::Show(size_t bytes, ToolCallPiece* out) {
  out->content.append(held_, 0, bytes);
  held_.erase(0, bytes);
  after_call_ = false;
}

// Shows text up to the next mark.
bool ToolCallParser::StepText(bool at_end, ToolCallPiece* out) {
  const absl::string_view mark = format_ == ToolCallFormat::kHermes ? kHermesMark : kMistralMark;
  const size_t at = held_.find(mark.data(), 0, mark.size());
  const bool found = at != std::string::npos;
  const size_t text = found ? at : held_.size() - (at_end ? 0 : MarkBegun(held_, mark));
  const bool is_space = SpaceBytes(absl::string_view(held_).substr(0, text)) == text;
  if (after_call_ && is_space) {
    if (!found && !at_end) return false;
    held_.erase(0, text);  // Between calls, and after the last.
  } else {
    Show(text, out);
  }
  at_mark_ = found;
  return found;
}

// A call's object at `begin`.
ToolCallParser::Candidate ToolCallParser::ReadObject(size_t begin) {
  using Kind = Candidate::Kind;
  const absl::string_view text = absl::string_view(held_).substr(begin);
  const JsonScanner::State state = scanner_.Scan(text);
  if (state == JsonScanner::State::kOpen) return {Kind::kOpen, 0, {}};
  if (state == JsonScanner::State::kBroken) return {Kind::kNone, 0, {}};
  std::optional<std::vector<ToolCall>> calls = ReadCalls(text.substr(0, scanner_.size()));
  if (!calls.has_value()) return {Kind::kNone, 0, {}};
  return {Kind::kCalls, begin + scanner_.size(), *std::move(calls)};
}

// "<tool_call>" object "</tool_call>", with white space around the object.
ToolCallParser::Candidate ToolCallParser::ReadHermes(bool at_end) {
  using Kind = Candidate::Kind;
  const absl::string_view text = held_;
  const size_t begin = kHermesMark.size() + SpaceBytes(text.substr(kHermesMark.size()));
  if (begin > kHermesMark.size() + kSpaceMax) return {Kind::kNone, 0, {}};
  if (begin == text.size()) return {Kind::kOpen, 0, {}};
  if (text[begin] != '{') return {Kind::kNone, 0, {}};
  // The object may have ended before: then its calls are read again, but no more than its end tag
  // has bytes and spaces.
  Candidate candidate = ReadObject(begin);
  if (candidate.kind != Kind::kCalls) return candidate;
  const size_t end = candidate.bytes + SpaceBytes(text.substr(candidate.bytes));
  if (end > candidate.bytes + kSpaceMax) return {Kind::kNone, 0, {}};
  const absl::string_view rest = text.substr(end);
  if (absl::StartsWith(rest, kHermesEnd)) {
    candidate.bytes = end + kHermesEnd.size();
    return candidate;
  }
  if (!Begins(rest, kHermesEnd)) return {Kind::kNone, 0, {}};
  if (!at_end) return {Kind::kOpen, 0, {}};
  candidate.bytes = text.size();
  return candidate;
}

// "[TOOL_CALLS]" and a list, or a name, "[CALL_ID]" and an id, "[ARGS]" and the arguments; the id
// and both marks may be missing.
ToolCallParser::Candidate ToolCallParser::ReadMistral() {
  using Kind = Candidate::Kind;
  const absl::string_view text = held_;
  size_t begin = kMistralMark.size() + SpaceBytes(text.substr(kMistralMark.size()));
  if (begin > kMistralMark.size() + kSpaceMax) return {Kind::kNone, 0, {}};
  if (begin == text.size()) return {Kind::kOpen, 0, {}};
  if (text[begin] == '[') return ReadObject(begin);
  const size_t brace = text.find('{', begin);
  const absl::string_view head = text.substr(begin, brace - begin);
  if (head.size() > 3 * kNameMax) return {Kind::kNone, 0, {}};
  if (absl::StrContains(head, kMistralMark)) return {Kind::kNone, 0, {}};
  if (brace == absl::string_view::npos) return {Kind::kOpen, 0, {}};
  const size_t name_end = std::min(head.find(kMistralArguments), head.find(kMistralId));
  const absl::string_view name =
      absl::StripAsciiWhitespace(head.substr(0, std::min(name_end, head.size())));
  const bool is_name = !name.empty() && name.size() <= kNameMax &&
                       std::none_of(name.begin(), name.end(),
                                    [](char c) { return absl::ascii_isspace(c) || c == '"'; });
  if (!is_name) return {Kind::kNone, 0, {}};
  const JsonScanner::State state = scanner_.Scan(text.substr(brace));
  if (state == JsonScanner::State::kOpen) return {Kind::kOpen, 0, {}};
  if (state == JsonScanner::State::kBroken) return {Kind::kNone, 0, {}};
  const absl::string_view arguments = text.substr(brace, scanner_.size());
  if (!IsJsonObject(arguments)) return {Kind::kNone, 0, {}};
  return {Kind::kCalls, brace + scanner_.size(), {{std::string(name), std::string(arguments)}}};
}

// An answer, or what follows a call, that begins with an object or a list.
bool ToolCallParser::StepJson(bool at_end, ToolCallPiece* out) {
  Candidate candidate = ReadJson();
  if (candidate.kind == Candidate::Kind::kCalls) {
    TakeCalls(std::move(candidate), out);
    return true;
  }
  if (candidate.kind == Candidate::Kind::kOpen && !at_end) return false;
  if (after_call_ && SpaceBytes(held_, ";,") == held_.size()) {
    held_.clear();
    return false;
  }
  is_plain_ = true;
  return true;
}

ToolCallParser::Candidate ToolCallParser::ReadJson() {
  using Kind = Candidate::Kind;
  absl::string_view text = held_;
  size_t begin = SpaceBytes(text, after_call_ ? ";," : "");
  if (begin > kSpaceMax) return {Kind::kNone, 0, {}};
  if (absl::StartsWith(text.substr(begin), kPythonTag)) {
    begin += kPythonTag.size();
    begin += SpaceBytes(text.substr(begin));
  }
  text.remove_prefix(begin);
  if (Begins(text, kPythonTag)) return {Kind::kOpen, 0, {}};
  if (!MayBeCalls(text)) return {Kind::kNone, 0, {}};
  return ReadObject(begin);
}

}  // namespace ebb::server
