#include "server/kserve/sampling_keys.h"

#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "server/field_checks.h"

namespace ebb::server {
namespace {

using Json = nlohmann::json;

absl::StatusOr<double> NumberOf(const std::string& name, const Json& value) {
  if (value.is_number()) return value.get<double>();
  double number = 0;
  if (value.is_string() && absl::SimpleAtod(value.get_ref<const std::string&>(), &number)) {
    return number;
  }
  return FieldError(name, "must be a number");
}

absl::StatusOr<int64_t> IntegerOf(const std::string& name, const Json& value) {
  // Of the unsigned ones only those above int64's range come as such.
  if (value.is_number_integer() && !(value.is_number_unsigned() && value.get<int64_t>() < 0)) {
    return value.get<int64_t>();
  }
  int64_t number = 0;
  if (value.is_string() && absl::SimpleAtoi(value.get_ref<const std::string&>(), &number)) {
    return number;
  }
  return FieldError(name, "must be an integer");
}

absl::StatusOr<bool> TruthOf(const std::string& name, const Json& value) {
  if (value.is_boolean()) return value.get<bool>();
  bool truth = false;
  if (value.is_string() && absl::SimpleAtob(value.get_ref<const std::string&>(), &truth)) {
    return truth;
  }
  return FieldError(name, "must be true or false");
}

// The items of a list; a value that is no list stands for a list of itself.
Json ListOf(const Json& value) { return value.is_array() ? value : Json::array({value}); }

absl::Status AddStops(const std::string& name, const Json& value, v1::Stopping* out) {
  for (const Json& stop : ListOf(value)) {
    if (!stop.is_string()) return FieldError(name, "must be a string or a list of strings");
    out->add_stop(stop.get<std::string>());
  }
  return absl::OkStatus();
}

absl::Status AddStopIds(const std::string& name, const Json& value, v1::Stopping* out) {
  for (const Json& id : ListOf(value)) {
    ASSIGN_OR_RETURN(const int64_t number, IntegerOf(name, id));
    out->add_stop_token_ids(number);
  }
  return absl::OkStatus();
}

absl::Status SetNumber(const std::string& name, const Json& value, v1::Sampling* out) {
  ASSIGN_OR_RETURN(const double number, NumberOf(name, value));
  if (name == "temperature") out->set_temperature(number);
  if (name == "top_p") out->set_top_p(number);
  if (name == "min_p") out->set_min_p(number);
  if (name == "repetition_penalty") out->set_repetition_penalty(number);
  if (name == "presence_penalty") out->set_presence_penalty(number);
  if (name == "frequency_penalty") out->set_frequency_penalty(number);
  return absl::OkStatus();
}

absl::Status SetInteger(const std::string& name, const Json& value, v1::GenerateRequest* out) {
  ASSIGN_OR_RETURN(const int64_t number, IntegerOf(name, value));
  // -1: all of them.
  if (name == "top_k") out->mutable_sampling()->set_top_k(number == -1 ? 0 : number);
  if (name == "seed") out->mutable_sampling()->set_seed(static_cast<uint64_t>(number));
  if (name == "max_tokens") out->mutable_stopping()->set_max_tokens(number);
  if (name == "min_tokens") out->mutable_stopping()->set_min_tokens(number);
  if (name == "n") out->mutable_output()->set_n(number);
  if (name == "best_of") out->mutable_output()->set_best_of(number);
  return absl::OkStatus();
}

absl::Status SetTruth(const std::string& name, const Json& value, v1::GenerateRequest* out) {
  ASSIGN_OR_RETURN(const bool truth, TruthOf(name, value));
  if (name == "ignore_eos") out->mutable_stopping()->set_ignore_eos(truth);
  if (name == "skip_special_tokens") out->mutable_output()->set_show_special(!truth);
  return absl::OkStatus();
}

}  // namespace

absl::Status SetSamplingKey(const std::string& name, const Json& value, v1::GenerateRequest* out) {
  if (name == "temperature" || name == "top_p" || name == "min_p" ||
      absl::EndsWith(name, "_penalty")) {
    return SetNumber(name, value, out->mutable_sampling());
  }
  if (name == "top_k" || name == "seed" || name == "max_tokens" || name == "min_tokens" ||
      name == "n" || name == "best_of") {
    return SetInteger(name, value, out);
  }
  if (name == "ignore_eos" || name == "skip_special_tokens") return SetTruth(name, value, out);
  if (name == "stop") return AddStops(name, value, out->mutable_stopping());
  if (name == "stop_token_ids") return AddStopIds(name, value, out->mutable_stopping());
  return FieldError(name, "is no parameter that this server knows; docs/gateways.md lists them");
}

}  // namespace ebb::server
