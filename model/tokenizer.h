// Tokenizer: text to token ids and back, by byte-level byte-pair encoding.
//
//   text -> control tokens cut out, where asked -> pre-tokenizer -> bytes -> merges -> ids
//
// Ids equal those of the Hugging Face tokenizer of the same model. Control tokens such as
// <|im_start|> are recognised only where the caller says so; anywhere else their spelling is
// ordinary text, so that a client cannot forge a turn of a conversation.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "model/pretokenizer.h"
#include "model/text_segment.h"
#include "model/tokenizer_bpe.h"

namespace ebb::model {

// As in the key tokenizer.ggml.token_type of GGUF files.
enum class TokenType : int32_t {
  kNormal = 1,
  kUnknown = 2,      // Treated like kControl.
  kControl = 3,      // <|im_start|> and the like.
  kUserDefined = 4,  // Whole pieces of text that are cut out of any text.
  kUnused = 5,       // Padding of the vocabulary: never encoded to.
};

// A tokenizer as a model file describes it; nothing is checked yet.
struct TokenizerData {
  std::string source;               // Names the file in errors.
  std::string model;                // "gpt2" is byte-level BPE.
  std::string pre;                  // See pretokenizer.h.
  std::vector<std::string> tokens;  // Normal ones in GPT-2's byte alphabet, control ones as text.
  std::vector<int32_t> token_types;
  std::vector<std::string> merges;  // "left right", the most important first.
  std::optional<int64_t> bos_id;
  std::optional<int64_t> eos_id;
  std::optional<int64_t> eot_id;  // End of turn, where it differs from eos.
  std::optional<int64_t> eom_id;  // End of message.
  std::optional<int64_t> pad_id;
  std::optional<int64_t> unknown_id;
  std::vector<int64_t> end_ids;  // What else ends an answer.
  // Without these two: what the pre-tokenizer's models do.
  std::optional<bool> add_bos;
  std::optional<bool> ignore_merges;  // A piece that is a token is taken whole.
};

// Gives every id without a text one of its own, of type kUnused.
void FillUnusedTokens(TokenizerData* data);

// Thread-safe: const after creation.
class Tokenizer {
 public:
  // One text's bytes. A longer one is refused: a single piece needs some 50 bytes for each of its
  // own while it is merged. Servers refuse earlier, by context length and longest_token_bytes().
  static constexpr size_t kTextBytesMax = size_t{64} << 20;
  static constexpr size_t kTokenBytesMax = 4096;

  // UNIMPLEMENTED: a tokenizer model or pre-tokenizer that we do not have. INVALID_ARGUMENT: the
  // vocabulary or the merges are malformed. Errors read as load_error.h says, with the reasons
  // unsupported, vocab, vocab_type, token, merge and special.
  static absl::StatusOr<std::unique_ptr<const Tokenizer>> Create(const TokenizerData& data);

  // The ids of `text`, without a beginning-of-sequence token. `parse_special`: control tokens'
  // spellings become the control tokens. A byte for which the vocabulary has no token (SmolLM2
  // lacks 21 that hardly occur) is left out, as Hugging Face does.
  // INVALID_ARGUMENT: not UTF-8, or longer than kTextBytesMax. NUL is a character like others.
  absl::StatusOr<std::vector<int32_t>> Encode(absl::string_view text, bool parse_special) const;

  // The ids of the segments' texts joined, with control tokens recognised only where all of their
  // bytes come from the template. Pieces may cross the borders of segments, so that a conversation
  // without control tokens in its contents gets the same ids as its rendered text as a whole.
  absl::StatusOr<std::vector<int32_t>> EncodeSegments(absl::Span<const TextSegment> segments) const;

  int32_t vocabulary_size() const { return static_cast<int32_t>(token_ends_.size()); }
  bool IsValid(int64_t id) const { return id >= 0 && id < vocabulary_size(); }
  // What the token stands for, which may be half a character. REQUIRES: IsValid(id).
  absl::string_view TokenBytes(int32_t id) const;
  // True for tokens that are no text, such as <|im_end|>. REQUIRES: IsValid(id).
  bool IsControl(int32_t id) const;

  // What ends an answer: the model's end-of-sequence token and its end-of-turn tokens, ascending.
  const std::vector<int32_t>& eos_ids() const { return eos_ids_; }
  std::optional<int32_t> bos_id() const { return bos_id_; }
  // The file's own eos token; eos_ids() has it too.
  std::optional<int32_t> eos_id() const { return eos_id_; }
  std::optional<int32_t> pad_id() const { return pad_id_; }
  // Raw text (not a rendered chat template) starts with bos_id(), which then has a value.
  bool add_bos() const { return add_bos_; }
  // A text of n bytes makes at least n / longest_token_bytes() tokens, but for bytes left out.
  size_t longest_token_bytes() const { return longest_token_bytes_; }

 private:
  struct Loader;
  struct SpecialMatch {
    int32_t id = -1;
    size_t bytes = 0;
  };
  struct EncodeScratch {
    std::vector<int32_t> byte_ids;
    BpeScratch bpe;
  };
  explicit Tokenizer(Pretokenizer pretokenizer);

  // Bytes [begin, end) of a text, in which control tokens are recognised.
  struct Range {
    size_t begin = 0;
    size_t end = 0;
  };

  absl::StatusOr<std::vector<int32_t>> EncodeMasked(absl::string_view text,
                                                    absl::Span<const Range> control_ranges) const;
  SpecialMatch MatchSpecial(absl::string_view text, size_t control_bytes_max) const;
  absl::Status EncodeOrdinary(absl::string_view text, EncodeScratch* scratch,
                              std::vector<int32_t>* out) const;
  void EncodePiece(absl::string_view piece, EncodeScratch* scratch,
                   std::vector<int32_t>* out) const;

  Pretokenizer pretokenizer_;
  BpeMerger merger_;
  bool ignore_merges_ = false;  // A piece that is a token is taken whole, whatever the merges say.

  std::string token_bytes_;  // All tokens' bytes, joined.
  std::vector<size_t> token_ends_;
  std::vector<TokenType> token_types_;
  std::array<int32_t, 256> byte_ids_;  // -1: no token for the byte.
  // Normal tokens by their bytes; filled only for ignore_merges_.
  absl::flat_hash_map<absl::string_view, int32_t> pieces_to_ids_;

  // Control and user-defined tokens as a trie: node 0 is the root.
  struct TrieNode {
    int32_t id = -1;
    bool is_control = false;
  };
  std::vector<TrieNode> trie_;
  absl::flat_hash_map<uint64_t, uint32_t> trie_edges_;  // By node << 8 | byte.
  std::array<bool, 256> begins_special_ = {};

  std::vector<int32_t> eos_ids_;
  std::optional<int32_t> bos_id_;
  std::optional<int32_t> eos_id_;
  std::optional<int32_t> pad_id_;
  bool add_bos_ = false;
  size_t longest_token_bytes_ = 0;
};

}  // namespace ebb::model
