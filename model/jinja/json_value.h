// Values of JSON that a client sent: all of it is the client's text.
#pragma once

#include "model/jinja/value.h"
#include "model/json_document.h"

namespace ebb::model::jinja {

// Integers beyond 64 bits become numbers with a point. Recurses as deep as the document, which its
// limits bound.
Value FromJson(JsonValue json);

}  // namespace ebb::model::jinja
