// TextSegment: a stretch of a prompt, and whether its author may write control tokens.
#pragma once

#include <string>

namespace ebb::model {

struct TextSegment {
  std::string text;
  // True: written by the chat template, so "<|im_start|>" in it is the control token. False:
  // written by a client, so it is eleven characters.
  bool is_template = false;
};

}  // namespace ebb::model
