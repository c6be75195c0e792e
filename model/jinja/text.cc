#include "model/jinja/text.h"

#include <algorithm>

#include "model/utf8.h"

namespace ebb::model::jinja {

void Text::Append(absl::string_view bytes, bool is_template) {
  if (bytes.empty()) return;
  bytes_.append(bytes.data(), bytes.size());
  if (runs_.empty() || runs_.back().is_template != is_template) {
    runs_.push_back({bytes_.size(), is_template});
  } else {
    runs_.back().end = bytes_.size();
  }
}

void Text::AppendSlice(const Text& other, size_t begin, size_t end) {
  auto run = std::upper_bound(other.runs_.begin(), other.runs_.end(), begin,
                              [](size_t at, const Run& r) { return at < r.end; });
  while (begin < end) {
    const size_t run_end = std::min(run->end, end);
    Append(other.view().substr(begin, run_end - begin), run->is_template);
    begin = run_end;
    ++run;
  }
}

Text Text::Slice(size_t begin, size_t end) const {
  Text slice;
  slice.AppendSlice(*this, begin, end);
  return slice;
}

std::vector<TextSegment> Text::Segments() const {
  std::vector<TextSegment> segments;
  segments.reserve(runs_.size());
  size_t begin = 0;
  for (const Run& run : runs_) {
    segments.push_back({bytes_.substr(begin, run.end - begin), run.is_template});
    begin = run.end;
  }
  return segments;
}

void TextReader::Next() {
  at_ += length_;
  if (!done() && at_ >= text_.runs()[run_].end) ++run_;
  Decode();
}

void TextReader::Decode() {
  if (done()) return;
  const Utf8Front front = DecodeUtf8Front(text_.view().substr(at_));
  length_ = front.length;
  code_point_ = front.kind == Utf8Front::Kind::kCharacter ? front.code_point : 0xFFFD;
}

size_t CountCharacters(absl::string_view text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<uint8_t>(c) & 0xC0) != 0x80;  // First bytes of characters.
  }));
}

}  // namespace ebb::model::jinja
