#include "server/kserve/infer_response.h"

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"

namespace ebb::server {
namespace {

namespace wire = ::inference;

// Lowest byte first.
void Put32(uint32_t value, std::string* out) {
  for (int shift = 0; shift < 32; shift += 8) out->push_back(static_cast<char>(value >> shift));
}

// A tensor of one element; its contents are to be added to the string.
std::string* AddTensor(const char* name, const char* datatype, wire::ModelInferResponse* out) {
  auto* const tensor = out->add_outputs();
  tensor->set_name(name);
  tensor->set_datatype(datatype);
  tensor->add_shape(1);
  return out->add_raw_output_contents();
}

void AddText(const char* name, absl::string_view first, absl::string_view second,
             wire::ModelInferResponse* out) {
  std::string* const raw = AddTensor(name, "BYTES", out);
  raw->reserve(sizeof(uint32_t) + first.size() + second.size());
  Put32(static_cast<uint32_t>(first.size() + second.size()), raw);
  raw->append(first.data(), first.size());
  raw->append(second.data(), second.size());
}

// As the backend writes it: Python's None while the answer goes on.
const char* ReasonOf(const v1::Finished* finished) {
  if (finished == nullptr) return "None";
  return finished->finish_reason() == v1::FINISH_REASON_LENGTH ? "length" : "stop";
}

}  // namespace

void FillInferResponse(const InferRequest& request, const v1::PromptInfo& prompt,
                       const v1::Delta& delta, const v1::Finished* finished,
                       wire::ModelInferResponse* out) {
  out->set_model_name(request.model_name);
  out->set_model_version(kModelVersion);
  out->set_id(request.id);
  AddText("text_output", request.text_before, delta.text(), out);
  if (request.finish_reason) AddText("finish_reason", ReasonOf(finished), "", out);
  if (request.num_input_tokens) {
    Put32(static_cast<uint32_t>(prompt.prompt_tokens()),
          AddTensor("num_input_tokens", "UINT32", out));
  }
  if (request.num_output_tokens) {
    Put32(static_cast<uint32_t>(delta.token_ids_size()),
          AddTensor("num_output_tokens", "UINT32", out));
  }
}

}  // namespace ebb::server
