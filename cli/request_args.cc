#include "cli/request_args.h"

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/status_macros.h"
#include "cli/text_file.h"

namespace ebb::cli {
namespace {

// ID=BIAS
absl::Status ReadLogitBias(const std::string& text, v1::Sampling* sampling) {
  const std::vector<std::string> parts = absl::StrSplit(text, '=');
  int64_t id = 0;
  double bias = 0;
  if (parts.size() != 2 || !absl::SimpleAtoi(parts[0], &id) || !absl::SimpleAtod(parts[1], &bias)) {
    return absl::InvalidArgumentError(
        absl::StrCat("--logit-bias: must be a token id, =, and a number; not ", text));
  }
  if (!sampling->mutable_logit_bias()->insert({id, bias}).second) {
    return absl::InvalidArgumentError(absl::StrCat("--logit-bias: token ", id, " is given twice"));
  }
  return absl::OkStatus();
}

absl::Status ReadSampling(const Args& args, v1::Sampling* sampling) {
  ASSIGN_OR_RETURN(const auto temperature, args.Double("temperature"));
  if (temperature.has_value()) sampling->set_temperature(*temperature);
  ASSIGN_OR_RETURN(const auto top_p, args.Double("top-p"));
  if (top_p.has_value()) sampling->set_top_p(*top_p);
  ASSIGN_OR_RETURN(const auto top_k, args.Int64("top-k"));
  if (top_k.has_value()) sampling->set_top_k(*top_k);
  ASSIGN_OR_RETURN(const auto min_p, args.Double("min-p"));
  if (min_p.has_value()) sampling->set_min_p(*min_p);
  ASSIGN_OR_RETURN(const auto seed, args.Uint64("seed"));
  if (seed.has_value()) sampling->set_seed(*seed);
  ASSIGN_OR_RETURN(const auto repetition, args.Double("repetition-penalty"));
  if (repetition.has_value()) sampling->set_repetition_penalty(*repetition);
  ASSIGN_OR_RETURN(const auto presence, args.Double("presence-penalty"));
  if (presence.has_value()) sampling->set_presence_penalty(*presence);
  ASSIGN_OR_RETURN(const auto frequency, args.Double("frequency-penalty"));
  if (frequency.has_value()) sampling->set_frequency_penalty(*frequency);
  for (const std::string& text : args.Texts("logit-bias")) {
    RETURN_IF_ERROR(ReadLogitBias(text, sampling));
  }
  for (const std::string& text : args.Texts("bad-word")) {
    RETURN_IF_ERROR(CheckUtf8(text, "--bad-word"));
    sampling->add_bad_words(text);
  }
  return absl::OkStatus();
}

absl::Status ReadStopping(const Args& args, v1::Stopping* stopping) {
  ASSIGN_OR_RETURN(const auto max_tokens, args.Int64("max-tokens"));
  if (max_tokens.has_value()) stopping->set_max_tokens(*max_tokens);
  ASSIGN_OR_RETURN(const auto min_tokens, args.Int64("min-tokens"));
  if (min_tokens.has_value()) stopping->set_min_tokens(*min_tokens);
  for (const std::string& text : args.Texts("stop")) {
    RETURN_IF_ERROR(CheckUtf8(text, "--stop"));
    stopping->add_stop(text);
  }
  for (const std::string& text : args.Texts("stop-id")) {
    int64_t id = 0;
    if (!absl::SimpleAtoi(text, &id)) {
      return absl::InvalidArgumentError(
          absl::StrCat("--stop-id: must be a whole number; not ", text));
    }
    stopping->add_stop_token_ids(id);
  }
  if (args.Has("ignore-eos")) stopping->set_ignore_eos(true);
  return absl::OkStatus();
}

}  // namespace

std::vector<Option> AnswerOptions() {
  return {
      {"max-tokens", "N", "At most N tokens. Default: the server's."},
      {"min-tokens", "N", "No end before N tokens; needs --max-tokens."},
      {"temperature", "T", "0 always takes the most likely token. Default 1."},
      {"top-p", "P", "The fewest most likely tokens whose probability reaches P. Default 1: all."},
      {"top-k", "K", "The K most likely tokens. Default 0: all."},
      {"min-p", "P", "Tokens at least P times as likely as the most likely one. Default 0: all."},
      {"seed", "S", "The same seed and settings give the same answer. Default: a random one."},
      {"repetition-penalty", "R",
       "Tokens of the prompt and the answer are less likely above 1. Default 1."},
      {"presence-penalty", "P", "Tokens of the answer are less likely above 0. Default 0."},
      {"frequency-penalty", "P", "Likewise, once for each time that they are in it. Default 0."},
      {"logit-bias", "ID=B", "Add B to this token's logit. May be given several times.", true},
      {"bad-word", "TEXT", "Never say TEXT. May be given several times.", true},
      {"stop", "TEXT", "End before TEXT. May be given several times.", true},
      {"stop-id", "ID", "End at this token. May be given several times.", true},
      {"ignore-eos", "", "Go on past the model's own end."},
      {"logprobs", "N",
       "With --json: log-probabilities of the answer's tokens, and of the N most likely ones."},
      {"prompt-logprobs", "N",
       "With --json: likewise for each prompt token after the first; 0: without alternatives."},
      {"priority", "N", "Lower goes first. Default 0."},
      {"request-id", "NAME", "A name for the server's log."},
      {"timeout-seconds", "S", "Give up after S seconds. Default: never."},
      {"json", "", "Print one JSON object when the answer is complete."},
  };
}

absl::Status ReadAnswerOptions(const Args& args, v1::GenerateRequest* request) {
  RETURN_IF_ERROR(ReadSampling(args, request->mutable_sampling()));
  RETURN_IF_ERROR(ReadStopping(args, request->mutable_stopping()));
  v1::Output* output = request->mutable_output();
  const bool json = args.Has("json");
  output->set_return_text(true);
  output->set_return_token_ids(json);
  output->set_return_prompt_token_ids(json);
  ASSIGN_OR_RETURN(const auto logprobs, args.Int64("logprobs"));
  if (logprobs.has_value()) output->set_logprobs(*logprobs);
  ASSIGN_OR_RETURN(const auto prompt_logprobs, args.Int64("prompt-logprobs"));
  if (prompt_logprobs.has_value()) output->set_prompt_logprobs(*prompt_logprobs);
  if (!json && (logprobs.has_value() || prompt_logprobs.has_value())) {
    return absl::InvalidArgumentError(
        "--logprobs and --prompt-logprobs are only printed with --json; add it");
  }
  ASSIGN_OR_RETURN(const auto priority, args.Int64("priority"));
  if (priority.has_value()) request->set_priority(*priority);
  if (args.Has("request-id")) {
    RETURN_IF_ERROR(CheckUtf8(*args.Text("request-id"), "--request-id"));
    request->set_request_id(*args.Text("request-id"));
  }
  return absl::OkStatus();
}

}  // namespace ebb::cli
