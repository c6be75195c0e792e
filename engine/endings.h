// Telling how answers and requests ended: to the sink and to the log.
#pragma once

#include "base/log.h"
#include "engine/outbox.h"

namespace ebb::engine {

// Tells the sink of the answer's end and, when it is the request's last to be told, of the
// request's, which is also a line of the log: of every request, or only of those that ended with an
// error. REQUIRES: no lock is held.
void TellEnding(Ending* ending, bool logs_all, base::Log* log);

}  // namespace ebb::engine
