// ToolCallParser: takes the calls of tools out of an answer that arrives piece by piece.
//
//   "It rains.\n<tool_call>\n{"name": "wind", "arguments": {"at": 3}}\n</tool_call>"
//      content  "It rains.\n"
//      call     wind  {"at": 3}
//
// How a model writes its calls is seen in its chat template. What looks like a call and is none
// comes out as the text that it is. Text is held back only while it may become a call, or is white
// space behind one; the content and the calls do not depend on how the text is cut into pieces.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "server/json_scanner.h"

namespace ebb::server {

enum class ToolCallFormat {
  kNone,    // All is content.
  kHermes,  // <tool_call>{"name": ..., "arguments": {...}}</tool_call>: Hermes, Qwen and others.
  // [TOOL_CALLS][{"name": ..., "arguments": {...}}, ...], and [TOOL_CALLS]NAME[ARGS]{...}.
  kMistral,
  // The answer is {"name": ..., "parameters": {...}}, several of them with ";" or "," between, or a
  // list of them: Llama 3 and others. Only at the very beginning.
  kJson,
};

// As the source of the model's template asks for calls.
ToolCallFormat DetectToolCallFormat(absl::string_view chat_template);

// The mark before a call is a control token: the answer must be decoded with them shown.
inline bool MarksAreControlTokens(ToolCallFormat format) {
  return format == ToolCallFormat::kMistral;
}

struct ToolCall {
  std::string name;
  std::string arguments;  // A JSON object, as the model wrote it.
};

// What can be shown now: content, then calls, where there are both.
struct ToolCallPiece {
  std::string content;
  std::vector<ToolCall> calls;
};

// Thread-compatible.
class ToolCallParser {
 public:
  explicit ToolCallParser(ToolCallFormat format) : format_(format) {}

  // Takes the next piece. Content that follows calls in one piece comes before them in the result;
  // their order among themselves is kept.
  ToolCallPiece Feed(absl::string_view piece);
  // The text has ended. A call whose end tag is missing counts.
  ToolCallPiece Flush();

 private:
  // What a place that may begin a call turned out to be.
  struct Candidate {
    enum class Kind { kOpen, kCalls, kNone };
    Kind kind = Kind::kOpen;
    size_t bytes = 0;  // Of the calls.
    std::vector<ToolCall> calls;
  };

  bool Step(bool at_end, ToolCallPiece* out);
  bool StepText(bool at_end, ToolCallPiece* out);
  bool StepJson(bool at_end, ToolCallPiece* out);
  void TakeCalls(Candidate candidate, ToolCallPiece* out);
  void Show(size_t bytes, ToolCallPiece* out);
  Candidate ReadHermes(bool at_end);
  Candidate ReadMistral();
  Candidate ReadJson();
  Candidate ReadObject(size_t begin);

  const ToolCallFormat format_;
  std::string held_;         // The end of the text, not yet shown.
  bool at_mark_ = false;     // `held_` begins with the mark of a call.
  bool after_call_ = false;  // Only white space came since.
  bool is_plain_ = false;    // kJson: no call can follow.
  JsonScanner scanner_;      // Of the candidate's JSON.
};

}  // namespace ebb::server
