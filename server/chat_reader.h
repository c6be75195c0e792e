// ReadChat: a Chat of the wire, checked field by field, as what a chat template takes.
#pragma once

#include <cstddef>

#include "absl/status/statusor.h"
#include "model/chat_conversation.h"
#include "proto/ebb.pb.h"

namespace ebb::server {

// All text of the chat, its JSON included.
size_t ChatBytes(const v1::Chat& chat);

// Roles are a closed set; JSON is parsed and has the shape that OpenAI gives it. Whether the
// model's template takes tools is the codec's to say. INVALID_ARGUMENT names the field.
absl::StatusOr<model::ChatConversation> ReadChat(const v1::Chat& chat);

}  // namespace ebb::server
