// ModelRunner: drives LlamaModel::Forward over KvMemory, for tests.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <vector>

#include "base/check.h"
#include "kernels/backend.h"
#include "model/llama.h"
#include "tests/model/kv_memory.h"

namespace ebb::model {

// One sequence's rows in a step.
struct StepPart {
  int32_t sequence = 0;
  std::vector<int32_t> tokens;
};

// Keeps each sequence's length. One thread at a time.
class ModelRunner {
 public:
  ModelRunner(const LlamaModel& model, const KvShape& shape)
      : model_(model), memory_(model.config(), shape), lengths_(shape.sequence_count) {}

  // Appends the parts' tokens to their sequences in one step. Returns the logits of every row, or
  // only of each part's last: [rows or parts, vocab].
  std::vector<float> Run(kernels::Lane lane, const std::vector<StepPart>& parts, bool all_rows) {
    std::vector<int32_t> tokens, positions, sequence_of_row, logits_rows;
    for (const StepPart& part : parts) {
      for (const int32_t token : part.tokens) {
        if (all_rows) logits_rows.push_back(static_cast<int32_t>(tokens.size()));
        tokens.push_back(token);
        positions.push_back(lengths_[part.sequence]++);
        sequence_of_row.push_back(part.sequence);
      }
      if (!all_rows) logits_rows.push_back(static_cast<int32_t>(tokens.size()) - 1);
    }
    ForwardInput input;
    input.lane = lane;
    input.tokens = tokens;
    input.rows.row_count = static_cast<int32_t>(tokens.size());
    input.rows.sequence_count = static_cast<int32_t>(lengths_.size());
    input.rows.positions = positions.data();
    input.rows.sequence_of_row = sequence_of_row.data();
    input.rows.tables = memory_.tables();
    input.kv = memory_.kv();
    input.logits_rows = logits_rows;
    const size_t bytes =
        model_.WorkspaceBytes(input.rows.row_count, static_cast<int32_t>(logits_rows.size()));
    // Whatever an earlier step left there must not matter.
    workspace_.assign(bytes + 64, 0xFF);
    uint8_t* const base =
        workspace_.data() + (64 - reinterpret_cast<uintptr_t>(workspace_.data()) % 64) % 64;
    input.workspace = absl::MakeSpan(base, bytes);
    const absl::StatusOr<float*> logits = model_.Forward(input);
    CHECK(logits.ok()) << logits.status().ToString();
    return std::vector<float>(*logits, *logits + logits_rows.size() * model_.config().vocab);
  }

  void Forget(int32_t sequence) { lengths_[sequence] = 0; }

 private:
  const LlamaModel& model_;
  KvMemory memory_;
  std::vector<int32_t> lengths_;
  std::vector<uint8_t> workspace_;
};

}  // namespace ebb::model
