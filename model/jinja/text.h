// Text: the strings of a template, every byte with its author.
//
//   "<|im_start|>" + message.role      bytes  <|im_start|>user
//                                      runs   ^template    ^client
//
// Whatever a template does with strings keeps the author of each byte: what was cut out, joined,
// changed in case or escaped belongs to whom it belonged before.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "model/text_segment.h"

namespace ebb::model::jinja {

// Offsets are in bytes. Cutting is at the borders of characters, so that all texts are UTF-8.
class Text {
 public:
  // The bytes up to `end`, from the end of the run before, have one author.
  struct Run {
    size_t end = 0;
    bool is_template = false;
  };

  Text() = default;
  Text(absl::string_view bytes, bool is_template) { Append(bytes, is_template); }

  void Append(absl::string_view bytes, bool is_template);
  void Append(const Text& other) { AppendSlice(other, 0, other.size()); }
  // REQUIRES: begin <= end <= other.size().
  void AppendSlice(const Text& other, size_t begin, size_t end);
  Text Slice(size_t begin, size_t end) const;

  absl::string_view view() const { return bytes_; }
  size_t size() const { return bytes_.size(); }
  bool empty() const { return bytes_.empty(); }
  // Neighbours differ in their author; none is empty.
  const std::vector<Run>& runs() const { return runs_; }
  // All of it was written by the template.
  bool IsTemplate() const { return runs_.empty() || (runs_.size() == 1 && runs_[0].is_template); }
  std::vector<TextSegment> Segments() const;

 private:
  std::string bytes_;
  std::vector<Run> runs_;
};

// Goes over a text character by character:
//   for (TextReader at(text); !at.done(); at.Next()) ... at.code_point() ...
class TextReader {
 public:
  // `text` outlives this.
  explicit TextReader(const Text& text) : text_(text) { Decode(); }

  bool done() const { return at_ >= text_.size(); }
  void Next();
  size_t offset() const { return at_; }
  absl::string_view bytes() const { return text_.view().substr(at_, length_); }
  uint32_t code_point() const { return code_point_; }
  bool is_template() const { return text_.runs()[run_].is_template; }

 private:
  void Decode();

  const Text& text_;
  size_t at_ = 0;
  size_t run_ = 0;
  size_t length_ = 0;
  uint32_t code_point_ = 0;
};

// Characters, as Python's len() counts them.
size_t CountCharacters(absl::string_view text);

}  // namespace ebb::model::jinja
