#include "server/kserve/infer_response.h"

#include <cstdint>
#include <string>
#include <utility>

#include "absl/strings/string_view.h"

namespace ebb::server {
namespace {

namespace wire = ::inference;

// Lowest byte first.
void Put32(uint32_t value, std::string* out) {
  for (int shift = 0; shift < 32; shift += 8) out->push_back(static_cast<char>(value >> shift));
}

// A tensor of one dimension; its contents are to be added to the string.
std::string* AddTensor(const char* name, const char* datatype, size_t elements,
                       wire::ModelInferResponse* out) {
  auto* const tensor = out->add_outputs();
  tensor->set_name(name);
  tensor->set_datatype(datatype);
  tensor->add_shape(static_cast<int64_t>(elements));
  return out->add_raw_output_contents();
}

void PutText(absl::string_view first, absl::string_view second, std::string* out) {
  Put32(static_cast<uint32_t>(first.size() + second.size()), out);
  out->append(first.data(), first.size());
  out->append(second.data(), second.size());
}

// As the backend writes it: Python's None while the answer goes on.
const char* ReasonOf(const InferPart& part) {
  if (!part.finish_reason.has_value()) return "None";
  return *part.finish_reason == v1::FINISH_REASON_LENGTH ? "length" : "stop";
}

}  // namespace

std::vector<InferPart> PartsOf(v1::GenerateResponse whole) {
  std::vector<InferPart> parts;
  const auto add = [&](std::string* text, google::protobuf::RepeatedField<int32_t>* ids,
                       v1::FinishReason reason) {
    InferPart& part = parts.emplace_back();
    part.delta.set_text(std::move(*text));
    part.delta.mutable_token_ids()->Swap(ids);
    part.finish_reason = reason;
  };
  for (v1::Choice& choice : *whole.mutable_choices()) {
    add(choice.mutable_text(), choice.mutable_token_ids(), choice.finished().finish_reason());
  }
  if (parts.empty()) {
    add(whole.mutable_text(), whole.mutable_token_ids(), whole.finished().finish_reason());
  }
  return parts;
}

void FillInferResponse(const InferRequest& request, const v1::PromptInfo& prompt,
                       absl::Span<const InferPart> parts, wire::ModelInferResponse* out) {
  out->set_model_name(request.model_name);
  out->set_model_version(kModelVersion);
  out->set_id(request.id);
  std::string* const text = AddTensor("text_output", "BYTES", parts.size(), out);
  for (const InferPart& part : parts) PutText(request.text_before, part.delta.text(), text);
  if (request.finish_reason) {
    std::string* const reasons = AddTensor("finish_reason", "BYTES", parts.size(), out);
    for (const InferPart& part : parts) PutText(ReasonOf(part), "", reasons);
  }
  if (request.num_input_tokens) {
    Put32(static_cast<uint32_t>(prompt.prompt_tokens()),
          AddTensor("num_input_tokens", "UINT32", 1, out));
  }
  if (request.num_output_tokens) {
    std::string* const counts = AddTensor("num_output_tokens", "UINT32", parts.size(), out);
    for (const InferPart& part : parts) {
      Put32(static_cast<uint32_t>(part.delta.token_ids_size()), counts);
    }
  }
}

}  // namespace ebb::server
