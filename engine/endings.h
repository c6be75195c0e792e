// Telling how answers and requests ended: to the sink and to the log.
#pragma once

#include "base/log.h"
#include "engine/outbox.h"

namespace ebb::engine {

// Tells the sink of the answer's end and, when it is the request's last to be told, of the
// request's, which is also a line of the log: of every request, or only of those that failed by our
// own fault (INTERNAL). Why they did stands there; their client is told where it stands.
// REQUIRES: no lock is held.
void TellEnding(Ending* ending, base::Log* log, bool log_every_request);

}  // namespace ebb::engine
