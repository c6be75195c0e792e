#include "cli/text_file.h"

#include <cerrno>
#include <cstring>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/status_macros.h"
#include "nlohmann/json.hpp"

namespace ebb::cli {
namespace {

constexpr size_t kInputBytesMax = size_t{256} << 20;

absl::StatusOr<std::string> ReadStream(std::istream* in, absl::string_view name) {
  std::string text;
  char buffer[1 << 16];
  while (in->read(buffer, sizeof(buffer)), in->gcount() > 0) {
    text.append(buffer, static_cast<size_t>(in->gcount()));
    if (text.size() > kInputBytesMax) {
      return absl::InvalidArgumentError(
          absl::StrCat(name, ": larger than ", kInputBytesMax, " bytes"));
    }
  }
  if (in->bad()) return absl::InvalidArgumentError(absl::StrCat(name, ": cannot be read"));
  return text;
}

// Bytes of the well-formed UTF-8 sequence at the start of `text` (Unicode 15, table 3-7), or 0.
size_t SequenceBytes(absl::string_view text) {
  const auto byte = [&](size_t i) {
    return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u;
  };
  const auto continues = [&](size_t i) { return (byte(i) & 0xC0u) == 0x80u; };
  const unsigned lead = byte(0);
  if (lead < 0x80) return 1;
  if (lead >= 0xC2 && lead <= 0xDF) return continues(1) ? 2 : 0;
  if (lead >= 0xE0 && lead <= 0xEF) {
    const bool overlong = lead == 0xE0 && byte(1) < 0xA0;
    const bool surrogate = lead == 0xED && byte(1) > 0x9F;
    return continues(1) && continues(2) && !overlong && !surrogate ? 3 : 0;
  }
  if (lead >= 0xF0 && lead <= 0xF4) {
    const bool overlong = lead == 0xF0 && byte(1) < 0x90;
    const bool too_large = lead == 0xF4 && byte(1) > 0x8F;
    return continues(1) && continues(2) && continues(3) && !overlong && !too_large ? 4 : 0;
  }
  return 0;
}

// Takes one flat list of numbers; everything else is an error.
class IdReader : public nlohmann::json_sax<nlohmann::json> {
 public:
  bool null() override { return Fail("null"); }
  bool boolean(bool) override { return Fail("true or false"); }
  bool number_integer(number_integer_t value) override { return Take(value); }
  bool number_unsigned(number_unsigned_t value) override {
    if (value > static_cast<uint64_t>(INT64_MAX)) return Fail(absl::StrCat(value));
    return Take(static_cast<int64_t>(value));
  }
  bool number_float(number_float_t, const string_t& text) override { return Fail(text); }
  bool string(string_t&) override { return Fail("a string"); }
  bool binary(binary_t&) override { return Fail("binary data"); }
  bool start_object(std::size_t) override { return Fail("an object"); }
  bool key(string_t&) override { return Fail("a key"); }
  bool end_object() override { return Fail("an object"); }
  bool start_array(std::size_t) override { return depth_++ == 0 || Fail("a list within the list"); }
  bool end_array() override { return true; }
  bool parse_error(std::size_t position, const std::string&,
                   const nlohmann::json::exception&) override {
    message_ = absl::StrCat("not valid JSON at byte ", position);
    return false;
  }

  std::vector<int64_t> ids_;
  std::string message_;

 private:
  bool Take(int64_t id) {
    if (depth_ == 0) return Fail("a number alone");
    ids_.push_back(id);
    return true;
  }
  bool Fail(absl::string_view what) {
    message_ = absl::StrCat("must be a list of whole numbers, such as [1, 2, 3]; not ", what);
    return false;
  }
  int depth_ = 0;
};

}  // namespace

absl::StatusOr<std::string> ReadInput(const std::string& path, std::istream* in) {
  if (path == "-") return ReadStream(in, "standard input");
  std::ifstream file(path, std::ios::binary);
  if (!file.is_open()) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": cannot be opened: ", std::strerror(errno)));
  }
  return ReadStream(&file, path);
}

absl::Status CheckUtf8(absl::string_view text, absl::string_view what) {
  for (size_t at = 0; at < text.size();) {
    const size_t bytes = SequenceBytes(text.substr(at));
    if (bytes == 0) {
      return absl::InvalidArgumentError(
          absl::StrFormat("%s: byte %d (0x%02x) is not UTF-8; convert the text, for example with "
                          "iconv -t UTF-8",
                          what, at, static_cast<unsigned char>(text[at])));
    }
    at += bytes;
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<int64_t>> ParseIds(absl::string_view json, absl::string_view source) {
  IdReader reader;
  if (!nlohmann::json::sax_parse(json.begin(), json.end(), &reader)) {
    return absl::InvalidArgumentError(absl::StrCat(source, ": ", reader.message_));
  }
  return std::move(reader.ids_);
}

}  // namespace ebb::cli
