// What Python's str does, on texts that know their authors.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/strings/string_view.h"
#include "model/jinja/text.h"

namespace ebb::model::jinja {

// Upper and lower case of ASCII, Latin, Greek and Cyrillic letters; all others stay.
uint32_t UpperOf(uint32_t code_point);
uint32_t LowerOf(uint32_t code_point);
bool IsLetter(uint32_t code_point);  // It has an upper or a lower case.

// There are letters, and all are of that case.
bool IsLower(const Text& text);
bool IsUpper(const Text& text);

Text Upper(const Text& text);
Text Lower(const Text& text);
Text Capitalize(const Text& text);
// Each word's first letter upper, the rest lower. Words as str.title() sees them, or, with
// `jinja_words`, as Jinja's filter does: what follows blanks, '-', '(', '{', '[' and '<'.
Text Title(const Text& text, bool jinja_words);

enum class Ends { kBoth, kLeft, kRight };
// Without the characters at the ends that are in `characters`; null: white space.
Text Strip(const Text& text, const absl::string_view* characters, Ends ends);

// REQUIRES: `separator` is not empty. At most `splits_max` splits; negative: all.
std::vector<Text> Split(const Text& text, absl::string_view separator, int64_t splits_max,
                        bool from_right);
// At white space.
std::vector<Text> SplitAtSpace(const Text& text, int64_t splits_max, bool from_right);
std::vector<Text> SplitLines(const Text& text, bool keep_ends);

// At most `count_max` times; negative: all. Also where `from` is empty, as in Python.
Text Replace(const Text& text, absl::string_view from, const Text& to, int64_t count_max);

}  // namespace ebb::model::jinja
