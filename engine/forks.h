// Forks: the answers of a request share the blocks of their prompt.
//
//   answer 0   [####][####][##..]          has prefilled the prompt
//   answer 1     |     |     +-> [##+.]    refers to the same blocks, and has all but the prompt's
//   answer 2     |     +-------> [##+.]    last token computed: its first decode step computes
//                +- shared                 that row and draws its first token
//
// Nobody writes to a block that several tables name. Who is to, gets a new block in its place, and
// the step that writes carries the copy (Batch::copies). Only decode's lane writes to such blocks,
// so its stream puts the copy before whatever anybody writes to the old block later; the step keeps
// a reference to that one until the copy is made. Who is left alone with a block writes to it.
//
// All under EngineCore::mutex.
#pragma once

#include <cstdint>

#include "engine/core.h"

namespace ebb::engine {

// The request's other answers start, from the sequence whose prompt is done and which has been
// handed over to decode. They wait with nothing if it is to give its blocks up.
void ForkAnswers(EngineCore* core, Sequence* first);

// Whether the block of this position is in another table too.
bool IsShared(const EngineCore& core, const Sequence& sequence, int32_t position);
// Blocks that a decoding sequence lacks for its next token, the one for a copy included.
int64_t BlocksForNextToken(const EngineCore& core, const Sequence& sequence);
// Takes them, and gives the batch the copy. False, and nothing changes, when the grant does not
// cover them.
[[nodiscard]] bool TryTakeForNextToken(EngineCore* core, Sequence* sequence, Batch* batch);
// The lane's step has completed, and its copies are made.
void ReturnCopied(EngineCore* core, Lane which);

}  // namespace ebb::engine
