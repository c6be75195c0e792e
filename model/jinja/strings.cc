#include "model/jinja/strings.h"

#include <algorithm>
#include <string>

#include "absl/strings/match.h"
#include "model/jinja/lexer.h"
#include "model/utf8.h"

namespace ebb::model::jinja {
namespace {

// Pairs of letters that stand next to each other, upper case first, in these ranges: the upper one
// is even or odd.
struct Pairs {
  uint32_t first, last;
  uint32_t upper_parity;
};
constexpr Pairs kPairs[] = {{0x100, 0x12F, 0}, {0x132, 0x137, 0},   {0x139, 0x148, 1},
                            {0x14A, 0x177, 0}, {0x179, 0x17E, 1},   {0x1CD, 0x1DC, 1},
                            {0x1DE, 0x1EF, 0}, {0x1F8, 0x21F, 0},   {0x222, 0x233, 0},
                            {0x460, 0x481, 0}, {0x48A, 0x4BF, 0},   {0x4C1, 0x4CE, 1},
                            {0x4D0, 0x52F, 0}, {0x1E00, 0x1E95, 0}, {0x1EA0, 0x1EFF, 0}};

// Letters whose lower case is `distance` further.
struct Shift {
  uint32_t first, last;
  uint32_t distance;
};
constexpr Shift kShifts[] = {{'A', 'Z', 32},     {0xC0, 0xD6, 32},   {0xD8, 0xDE, 32},
                             {0x391, 0x3A1, 32}, {0x3A3, 0x3AB, 32}, {0x410, 0x42F, 32},
                             {0x400, 0x40F, 80}, {0x531, 0x556, 48}, {0xFF21, 0xFF3A, 32},
                             {0x386, 0x386, 38}, {0x388, 0x38A, 37}, {0x38C, 0x38C, 64},
                             {0x38E, 0x38F, 63}};

const Pairs* PairsOf(uint32_t c) {
  for (const Pairs& pairs : kPairs) {
    if (c >= pairs.first && c <= pairs.last) return &pairs;
  }
  return nullptr;
}

void AppendCharacter(uint32_t c, bool is_template, Text* out) {
  std::string bytes;
  AppendUtf8(c, &bytes);
  out->Append(bytes, is_template);
}

// Some letters become several.
void AppendUpper(const TextReader& at, Text* out) {
  if (at.code_point() == 0xDF) return out->Append("SS", at.is_template());
  AppendCharacter(UpperOf(at.code_point()), at.is_template(), out);
}

void AppendLower(const TextReader& at, Text* out) {
  AppendCharacter(LowerOf(at.code_point()), at.is_template(), out);
}

// There are letters, and `is_of_case` holds for all.
template <typename F>
bool HasOnly(const Text& text, const F& is_of_case) {
  bool any = false;
  for (TextReader at(text); !at.done(); at.Next()) {
    if (!IsLetter(at.code_point())) continue;
    if (!is_of_case(at.code_point())) return false;
    any = true;
  }
  return any;
}

bool IsLineEnd(uint32_t c) {
  return (c >= 0x0A && c <= 0x0D) || (c >= 0x1C && c <= 0x1E) || c == 0x85 || c == 0x2028 ||
         c == 0x2029;
}

}  // namespace

uint32_t LowerOf(uint32_t c) {
  for (const Shift& shift : kShifts) {
    if (c >= shift.first && c <= shift.last) return c + shift.distance;
  }
  const Pairs* const pairs = PairsOf(c);
  if (pairs != nullptr && c % 2 == pairs->upper_parity) return c + 1;
  return c == 0x178 ? 0xFF : c;
}

uint32_t UpperOf(uint32_t c) {
  for (const Shift& shift : kShifts) {
    if (c >= shift.first + shift.distance && c <= shift.last + shift.distance) {
      return c - shift.distance;
    }
  }
  const Pairs* const pairs = PairsOf(c);
  if (pairs != nullptr && c % 2 != pairs->upper_parity) return c - 1;
  if (c == 0x3C2) return 0x3A3;  // The sigma at the end of a word.
  if (c == 0xB5) return 0x39C;
  return c == 0xFF ? 0x178 : c;
}

bool IsLetter(uint32_t c) { return UpperOf(c) != c || LowerOf(c) != c || c == 0xDF; }

bool IsLower(const Text& text) {
  return HasOnly(text, [](uint32_t c) { return UpperOf(c) != c || c == 0xDF; });
}

bool IsUpper(const Text& text) {
  return HasOnly(text, [](uint32_t c) { return LowerOf(c) != c; });
}

Text Upper(const Text& text) {
  Text upper;
  for (TextReader at(text); !at.done(); at.Next()) AppendUpper(at, &upper);
  return upper;
}

Text Lower(const Text& text) {
  Text lower;
  for (TextReader at(text); !at.done(); at.Next()) AppendLower(at, &lower);
  return lower;
}

Text Capitalize(const Text& text) {
  Text out;
  for (TextReader at(text); !at.done(); at.Next()) {
    at.offset() == 0 ? AppendUpper(at, &out) : AppendLower(at, &out);
  }
  return out;
}

Text Title(const Text& text, bool jinja_words) {
  Text out;
  bool in_word = false;
  for (TextReader at(text); !at.done(); at.Next()) {
    const uint32_t c = at.code_point();
    in_word ? AppendLower(at, &out) : AppendUpper(at, &out);
    in_word = jinja_words
                  ? !IsPythonSpace(c) && c != '-' && c != '(' && c != '{' && c != '[' && c != '<'
                  : IsLetter(c);
  }
  return out;
}

Text Strip(const Text& text, const absl::string_view* characters, Ends ends) {
  size_t begin = text.size();
  size_t end = 0;
  for (TextReader at(text); !at.done(); at.Next()) {
    const bool goes = characters == nullptr ? IsPythonSpace(at.code_point())
                                            : absl::StrContains(*characters, at.bytes());
    if (goes) continue;
    begin = std::min(begin, at.offset());
    end = at.offset() + at.bytes().size();
  }
  if (begin == text.size()) return Text();  // Nothing stays.
  if (ends == Ends::kRight) begin = 0;
  if (ends == Ends::kLeft) end = text.size();
  return text.Slice(begin, end);
}

std::vector<Text> Split(const Text& text, absl::string_view separator, int64_t splits_max,
                        bool from_right) {
  const absl::string_view view = text.view();
  std::vector<Text> parts;
  if (from_right) {
    size_t end = view.size();
    while (splits_max < 0 || static_cast<int64_t>(parts.size()) < splits_max) {
      const size_t at = end < separator.size() ? absl::string_view::npos
                                               : view.rfind(separator, end - separator.size());
      if (at == absl::string_view::npos) break;
      parts.push_back(text.Slice(at + separator.size(), end));
      end = at;
    }
    parts.push_back(text.Slice(0, end));
    std::reverse(parts.begin(), parts.end());
    return parts;
  }
  size_t begin = 0;
  while (splits_max < 0 || static_cast<int64_t>(parts.size()) < splits_max) {
    const size_t at = view.find(separator, begin);
    if (at == absl::string_view::npos) break;
    parts.push_back(text.Slice(begin, at));
    begin = at + separator.size();
  }
  parts.push_back(text.Slice(begin, view.size()));
  return parts;
}

std::vector<Text> SplitAtSpace(const Text& text, int64_t splits_max, bool from_right) {
  struct Word {
    size_t begin, end;
  };
  std::vector<Word> words;
  bool in_word = false;
  for (TextReader at(text); !at.done(); at.Next()) {
    const bool is_space = IsPythonSpace(at.code_point());
    if (!is_space && !in_word) words.push_back({at.offset(), 0});
    if (!is_space) words.back().end = at.offset() + at.bytes().size();
    in_word = !is_space;
  }
  std::vector<Text> parts;
  if (words.empty()) return parts;
  const size_t kept_max =
      splits_max < 0 ? words.size() : std::min(words.size(), static_cast<size_t>(splits_max) + 1);
  // What is left unsplit keeps the space at its outer end.
  const bool keeps_rest = splits_max >= 0 && static_cast<size_t>(splits_max) < words.size();
  const size_t merged = words.size() - kept_max;
  if (from_right) {
    parts.push_back(text.Slice(keeps_rest ? 0 : words[0].begin, words[merged].end));
    for (size_t i = merged + 1; i < words.size(); ++i) {
      parts.push_back(text.Slice(words[i].begin, words[i].end));
    }
    return parts;
  }
  for (size_t i = 0; i < kept_max; ++i) {
    const bool is_rest = keeps_rest && i + 1 == kept_max;
    parts.push_back(text.Slice(words[i].begin, is_rest ? text.size() : words[i].end));
  }
  return parts;
}

std::vector<Text> SplitLines(const Text& text, bool keep_ends) {
  std::vector<Text> lines;
  size_t begin = 0;
  for (TextReader at(text); !at.done();) {
    if (!IsLineEnd(at.code_point())) {
      at.Next();
      continue;
    }
    const size_t end = at.offset();
    const bool is_return = at.code_point() == '\r';
    at.Next();
    if (is_return && !at.done() && at.code_point() == '\n') at.Next();
    const size_t next = at.done() ? text.size() : at.offset();
    lines.push_back(text.Slice(begin, keep_ends ? next : end));
    begin = next;
  }
  if (begin < text.size()) lines.push_back(text.Slice(begin, text.size()));
  return lines;
}

Text Replace(const Text& text, absl::string_view from, const Text& to, int64_t count_max) {
  const absl::string_view view = text.view();
  Text out;
  size_t begin = 0;
  int64_t count = 0;
  const auto may_replace = [&] { return count_max < 0 || count < count_max; };
  if (from.empty()) {  // Before each character, and at the end.
    for (TextReader at(text); !at.done(); at.Next()) {
      if (may_replace()) out.Append(to);
      ++count;
      out.Append(at.bytes(), at.is_template());
    }
    if (may_replace()) out.Append(to);
    return out;
  }
  while (may_replace()) {
    const size_t at = view.find(from, begin);
    if (at == absl::string_view::npos) break;
    out.AppendSlice(text, begin, at);
    out.Append(to);
    begin = at + from.size();
    ++count;
  }
  out.AppendSlice(text, begin, view.size());
  return out;
}

}  // namespace ebb::model::jinja
