#include "server/kserve/infer_request.h"

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "base/status_macros.h"
#include "server/field_checks.h"
#include "server/kserve/sampling_keys.h"

namespace ebb::server {
namespace {

namespace wire = ::inference;
using Json = nlohmann::json;
using InputTensor = wire::ModelInferRequest::InferInputTensor;

constexpr int kInputsMax = 32;
constexpr size_t kSamplingBytesMax = size_t{64} << 10;
constexpr size_t kLengthBytes = 4;

// One input of one element, in whichever of the two forms it came.
class Input {
 public:
  Input(const wire::ModelInferRequest& in, int index)
      : tensor_(in.inputs(index)),
        raw_(in.raw_input_contents().empty() ? nullptr : &in.raw_input_contents(index)) {}

  const std::string& name() const { return tensor_.name(); }

  absl::StatusOr<std::string> Bytes() const {
    RETURN_IF_ERROR(CheckForm("BYTES", tensor_.contents().bytes_contents_size()));
    if (raw_ == nullptr) return tensor_.contents().bytes_contents(0);
    if (raw_->size() >= kLengthBytes) {
      uint32_t length = 0;
      for (size_t i = kLengthBytes; i-- > 0;) {
        length = length << 8 | static_cast<uint8_t>((*raw_)[i]);
      }
      if (length == raw_->size() - kLengthBytes) return raw_->substr(kLengthBytes);
    }
    return FieldError(name(),
                      "its raw contents must be one length of four bytes and as many bytes");
  }

  absl::StatusOr<bool> Truth() const {
    RETURN_IF_ERROR(CheckForm("BOOL", tensor_.contents().bool_contents_size()));
    if (raw_ == nullptr) return tensor_.contents().bool_contents(0);
    if (raw_->size() == 1) return (*raw_)[0] != 0;
    return FieldError(name(), "its raw contents must be one byte");
  }

 private:
  absl::Status CheckForm(absl::string_view datatype, int typed_count) const {
    if (tensor_.datatype() != datatype) {
      return FieldError(name(), absl::StrCat("must be of datatype ", datatype));
    }
    for (const int64_t size : tensor_.shape()) {
      if (size != 1) return FieldError(name(), "must have one element: shape [1]");
    }
    if (!tensor_.parameters().empty()) {
      return absl::UnimplementedError(
          absl::StrCat(name(), ": parameters of an input, such as shared memory, are not served"));
    }
    if (raw_ != nullptr && tensor_.has_contents()) {
      return FieldError(name(), "has both contents and raw contents");
    }
    if (raw_ == nullptr && typed_count != 1) return FieldError(name(), "must have one element");
    return absl::OkStatus();
  }

  const InputTensor& tensor_;
  const std::string* const raw_;
};

absl::StatusOr<Json> ValueOf(const std::string& name, const wire::InferParameter& parameter) {
  switch (parameter.parameter_choice_case()) {
    case wire::InferParameter::kBoolParam:
      return Json(parameter.bool_param());
    case wire::InferParameter::kInt64Param:
      return Json(parameter.int64_param());
    case wire::InferParameter::kStringParam:
      return Json(parameter.string_param());
    case wire::InferParameter::kDoubleParam:
      return Json(parameter.double_param());
    case wire::InferParameter::kUint64Param:
      return Json(parameter.uint64_param());
    case wire::InferParameter::PARAMETER_CHOICE_NOT_SET:
      break;
  }
  return FieldError(name, "has no value");
}

class Reader {
 public:
  explicit Reader(const wire::ModelInferRequest& in) : in_(in) {}

  absl::StatusOr<InferRequest> Read() {
    RETURN_IF_ERROR(CheckNoUnknownFields(in_));
    RETURN_IF_ERROR(CheckModelVersion(in_.model_version()));
    out_.model_name = in_.model_name();
    out_.id = in_.id();
    if (!in_.model_name().empty()) out_.generate.set_model(in_.model_name());
    RETURN_IF_ERROR(ReadParameters());
    RETURN_IF_ERROR(ReadInputs());
    RETURN_IF_ERROR(ReadOutputs());
    if (!out_.generate.has_text()) return FieldError("text_input", "is required");
    out_.stream = switches_["stream"].value_or(false);
    out_.finish_reason = switches_["return_finish_reason"].value_or(false);
    out_.num_input_tokens = switches_["return_num_input_tokens"].value_or(false);
    out_.num_output_tokens = switches_["return_num_output_tokens"].value_or(false);
    // As the backend has it: whole answers begin with the prompt unless that is refused.
    const bool exclude = switches_["exclude_input_in_output"].value_or(out_.stream);
    if (!exclude && out_.stream) {
      return FieldError("exclude_input_in_output", "must not be false when streaming");
    }
    if (!exclude) out_.text_before = out_.generate.text();
    out_.generate.set_parse_special(true);
    if (out_.num_output_tokens) out_.generate.mutable_output()->set_return_token_ids(true);
    return std::move(out_);
  }

 private:
  absl::Status ReadParameters() {
    for (const auto& [name, parameter] : in_.parameters()) {
      // What it asks for is always so: the last response is marked.
      if (name == "triton_enable_empty_final_response") continue;
      ASSIGN_OR_RETURN(const Json value, ValueOf(name, parameter));
      if (name == "stream" || name == "exclude_input_in_output") {
        if (!value.is_boolean()) return FieldError(name, "must be true or false");
        *SwitchOf(name) = value.get<bool>();
      } else {
        RETURN_IF_ERROR(SetSampling(name, value));
      }
    }
    return absl::OkStatus();
  }

  absl::Status SetSampling(const std::string& name, const Json& value) {
    if (!sampling_names_.insert(name).second) return FieldError(name, "is given twice");
    return SetSamplingKey(name, value, &out_.generate);
  }

  // Null: no such switch.
  std::optional<bool>* SwitchOf(const std::string& name) {
    const auto it = switches_.find(name);
    return it == switches_.end() ? nullptr : &it->second;
  }

  absl::Status ReadInputs() {
    RETURN_IF_ERROR(CountAtMost("inputs", in_.inputs_size(), kInputsMax));
    if (!in_.raw_input_contents().empty() && in_.raw_input_contents_size() != in_.inputs_size()) {
      return FieldError("raw_input_contents", "must be one for each input");
    }
    std::set<std::string> names;
    for (int i = 0; i < in_.inputs_size(); ++i) {
      const Input input(in_, i);
      if (!names.insert(input.name()).second) return FieldError(input.name(), "is given twice");
      RETURN_IF_ERROR(ReadInput(input));
    }
    return absl::OkStatus();
  }

  absl::Status ReadInput(const Input& input) {
    const std::string& name = input.name();
    if (name == "text_input") {
      ASSIGN_OR_RETURN(*out_.generate.mutable_text(), input.Bytes());
      return absl::OkStatus();
    }
    if (name == "sampling_parameters") return ReadSamplingText(input);
    const bool not_served = name == "return_logprobs" || name == "return_cumulative_logprob";
    if (!not_served && SwitchOf(name) == nullptr) {
      return FieldError(name, "is no input of the model; ModelMetadata lists them");
    }
    ASSIGN_OR_RETURN(const bool value, input.Truth());
    if (!not_served) {
      *SwitchOf(name) = value;
    } else if (value) {
      return absl::UnimplementedError(absl::StrCat(name, ": not over this protocol"));
    }
    return absl::OkStatus();
  }

  absl::Status ReadSamplingText(const Input& input) {
    ASSIGN_OR_RETURN(const std::string text, input.Bytes());
    if (text.size() > kSamplingBytesMax) return FieldError(input.name(), "is too long");
    const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
    if (!json.is_object()) return FieldError(input.name(), "must be a JSON object");
    for (const auto& [name, value] : json.items()) RETURN_IF_ERROR(SetSampling(name, value));
    return absl::OkStatus();
  }

  absl::Status ReadOutputs() {
    for (const auto& output : in_.outputs()) {
      if (!output.parameters().empty()) {
        return absl::UnimplementedError(
            absl::StrCat(output.name(), ": parameters of an output are not served"));
      }
      if (output.name() == "text_output") continue;
      std::optional<bool>* const wanted = SwitchOf(absl::StrCat("return_", output.name()));
      if (wanted == nullptr) {
        return FieldError(output.name(), "is no output of the model; ModelMetadata lists them");
      }
      *wanted = true;
    }
    return absl::OkStatus();
  }

  const wire::ModelInferRequest& in_;
  InferRequest out_;
  std::map<std::string, std::optional<bool>> switches_ = {{"stream", {}},
                                                          {"exclude_input_in_output", {}},
                                                          {"return_finish_reason", {}},
                                                          {"return_num_input_tokens", {}},
                                                          {"return_num_output_tokens", {}}};
  std::set<std::string> sampling_names_;
};

}  // namespace

absl::StatusOr<InferRequest> ReadInferRequest(const wire::ModelInferRequest& in) {
  return Reader(in).Read();
}

absl::Status CheckModelVersion(const std::string& version) {
  if (version.empty() || version == kModelVersion) return absl::OkStatus();
  return absl::NotFoundError(absl::StrCat("model_version: there is only \"", kModelVersion, "\""));
}

}  // namespace ebb::server
