// PrefixChain: what each full block of a sequence's tokens is known by, with all that is before it.
//
//   tokens       [ 0 .. 15 ][ 16 .. 31 ][ 32 ..        block_tokens = 16
//   digest 0  =  H(salt,     tokens  0 .. 15)
//   digest 1  =  H(digest 0, tokens 16 .. 31)
//
// H is SHA-256: two chains of one salt have equal digests only where all their tokens are equal,
// and two of different salts nowhere. Keys and values depend on nothing but these tokens, so blocks
// with equal digests can stand for each other. (vLLM and SGLang key their prefix caches alike.)
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/types/span.h"

namespace ebb::memory {

using PrefixDigest = std::array<unsigned char, 32>;

// H. `before` is the salt's digest or that of the block before. Injected, so that a test can make
// digests collide.
using PrefixHash = PrefixDigest (*)(const PrefixDigest& before, absl::Span<const int32_t> tokens);
PrefixDigest Sha256OfBlock(const PrefixDigest& before, absl::Span<const int32_t> tokens);

// A plain value; thread-compatible.
class PrefixChain {
 public:
  // Only chains of the same salt can have anything in common. REQUIRES: block_tokens >= 1.
  PrefixChain(std::string salt, int32_t block_tokens, PrefixHash hash = &Sha256OfBlock);

  // Follows the tokens: a digest for each full block of them. REQUIRES: they begin with those of
  // the last call.
  void Follow(absl::Span<const int32_t> tokens);

  int64_t block_count() const { return static_cast<int64_t>(digests_.size()); }
  const PrefixDigest& digest(int64_t block) const {
    return digests_.at(static_cast<size_t>(block));
  }
  const std::string& salt() const { return *salt_; }

 private:
  std::shared_ptr<const std::string> salt_;  // One for all copies.
  int32_t block_tokens_;
  PrefixHash hash_;
  PrefixDigest salt_digest_;
  std::vector<PrefixDigest> digests_;
};

}  // namespace ebb::memory
