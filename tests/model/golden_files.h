// Readers of the golden files that tools/golden and
// tests/golden/make_tiny_models.py write; their layouts are described there.
#pragma once

#include <cstdint>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "base/check.h"

namespace ebb::model {

// Reads numbers front to back; a short or foreign file fails a CHECK.
class GoldenReader {
 public:
  GoldenReader(const std::string& path, const std::string& magic) {
    std::ifstream in(path, std::ios::binary);
    CHECK(in.good()) << path;
    bytes_.assign(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>());
    CHECK(bytes_.compare(0, magic.size(), magic) == 0) << path << " is not of kind " << magic;
    offset_ = magic.size();
  }

  template <typename T>
  T Next() {
    return NextMany<T>(1)[0];
  }
  template <typename T>
  std::vector<T> NextMany(size_t count) {
    CHECK_LE(offset_ + count * sizeof(T), bytes_.size());
    std::vector<T> out(count);
    std::memcpy(out.data(), bytes_.data() + offset_, count * sizeof(T));
    offset_ += count * sizeof(T);
    return out;
  }
  std::vector<int32_t> NextIds() { return NextMany<int32_t>(Next<uint32_t>()); }
  bool AtEnd() const { return offset_ == bytes_.size(); }

 private:
  std::string bytes_;
  size_t offset_ = 0;
};

struct TinySequence {
  std::vector<int32_t> ids;
  std::vector<float> logits;  // [ids.size(), vocab]
};

inline std::vector<TinySequence> ReadTinySequences(const std::string& path) {
  GoldenReader in(path, "EBBTINY1");
  std::vector<TinySequence> sequences(in.Next<uint32_t>());
  const uint32_t vocab = in.Next<uint32_t>();
  for (TinySequence& sequence : sequences) {
    sequence.ids = in.NextIds();
    sequence.logits = in.NextMany<float>(sequence.ids.size() * vocab);
  }
  CHECK(in.AtEnd());
  return sequences;
}

// A prompt's logits at some of its positions.
struct TinyPrompt {
  std::vector<int32_t> ids;
  std::vector<int32_t> rows;  // Ascending.
  std::vector<float> logits;  // [rows.size(), vocab]
};

inline std::vector<TinyPrompt> ReadTinyPrompts(const std::string& path) {
  GoldenReader in(path, "EBBTINY2");
  std::vector<TinyPrompt> prompts(in.Next<uint32_t>());
  const uint32_t vocab = in.Next<uint32_t>();
  for (TinyPrompt& prompt : prompts) {
    prompt.ids = in.NextIds();
    prompt.rows = in.NextIds();
    prompt.logits = in.NextMany<float>(prompt.rows.size() * vocab);
  }
  CHECK(in.AtEnd());
  return prompts;
}

// The reference's distribution of the token after a position.
struct GoldenPosition {
  float next_logprob = 0;     // Of the token that the text goes on with.
  float margin = 0;           // Between the two best log-probabilities.
  float rest_log_mass = 0;    // Of all tokens outside `ids`.
  std::vector<uint16_t> ids;  // Most likely first.
  std::vector<float> logprobs;
};

struct GoldenText {
  std::vector<int32_t> ids;
  std::vector<GoldenPosition> positions;  // [ids.size() - 1]
};

inline std::vector<GoldenText> ReadGoldenTexts(const std::string& path) {
  GoldenReader in(path, "EBBTEXT1");
  std::vector<GoldenText> texts(in.Next<uint32_t>());
  const uint32_t top_k = in.Next<uint32_t>();
  for (GoldenText& text : texts) {
    text.ids = in.NextIds();
    for (size_t i = 0; i + 1 < text.ids.size(); ++i) {
      GoldenPosition position;
      position.next_logprob = in.Next<float>();
      position.margin = in.Next<float>();
      position.rest_log_mass = in.Next<float>();
      position.ids = in.NextMany<uint16_t>(top_k);
      position.logprobs = in.NextMany<float>(top_k);
      text.positions.push_back(std::move(position));
    }
  }
  CHECK(in.AtEnd());
  return texts;
}

struct GoldenContinuation {
  std::vector<int32_t> prompt;
  std::vector<int32_t> ids;
  std::vector<float> margins;  // [ids.size()]
};

inline std::vector<GoldenContinuation> ReadGoldenContinuations(const std::string& path) {
  GoldenReader in(path, "EBBGREE1");
  std::vector<GoldenContinuation> continuations(in.Next<uint32_t>());
  for (GoldenContinuation& continuation : continuations) {
    continuation.prompt = in.NextIds();
    continuation.ids = in.NextIds();
    continuation.margins = in.NextMany<float>(continuation.ids.size());
  }
  CHECK(in.AtEnd());
  return continuations;
}

}  // namespace ebb::model
