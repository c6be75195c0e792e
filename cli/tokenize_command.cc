// ebb tokenize and ebb detokenize.
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status_macros.h"
#include "cli/answer_json.h"
#include "cli/command.h"
#include "cli/text_file.h"

namespace ebb::cli {
namespace {

absl::StatusOr<v1::TokenizeRequest> ReadText(const Args& args, Terminal* terminal) {
  v1::TokenizeRequest request;
  if (args.Has("file") != args.words().empty()) {
    return absl::InvalidArgumentError("give either --file FILE or the text");
  }
  if (args.Has("file")) {
    const std::string path = *args.Text("file");
    ASSIGN_OR_RETURN(*request.mutable_text(), ReadInput(path, terminal->in));
    RETURN_IF_ERROR(CheckUtf8(request.text(), path));
  } else {
    request.set_text(absl::StrJoin(args.words(), " "));
    RETURN_IF_ERROR(CheckUtf8(request.text(), "text"));
  }
  if (args.Has("special")) request.set_parse_special(true);
  return request;
}

ExitCode RunTokenize(const Args& args, Connection* connection, Terminal* terminal) {
  const absl::StatusOr<v1::TokenizeRequest> request = ReadText(args, terminal);
  if (!request.ok()) return FailUsage(terminal, request.status());
  grpc::ClientContext context;
  const Interrupt::Scope cancel(terminal->interrupt, [&context] { context.TryCancel(); });
  v1::TokenizeResponse response;
  const grpc::Status status = connection->inference()->Tokenize(&context, *request, &response);
  if (!status.ok()) return FailCall(terminal, *connection, status);
  if (args.Has("json")) {
    *terminal->out << JsonLine({{"token_ids", response.token_ids()}});
  } else {
    *terminal->out << absl::StrJoin(response.token_ids(), " ") << "\n";
  }
  return ExitCode::kOk;
}

absl::StatusOr<v1::DetokenizeRequest> ReadIds(const Args& args, Terminal* terminal) {
  v1::DetokenizeRequest request;
  if (args.Has("ids-file") != args.words().empty()) {
    return absl::InvalidArgumentError("give either --ids-file FILE or the ids");
  }
  if (args.Has("ids-file")) {
    const std::string path = *args.Text("ids-file");
    ASSIGN_OR_RETURN(const std::string text, ReadInput(path, terminal->in));
    ASSIGN_OR_RETURN(const std::vector<int64_t> ids, ParseIds(text, path));
    request.mutable_token_ids()->Assign(ids.begin(), ids.end());
  }
  for (const std::string& word : args.words()) {
    int64_t id = 0;
    if (!absl::SimpleAtoi(word, &id)) {
      return absl::InvalidArgumentError(absl::StrCat(word, ": is not a token id"));
    }
    request.add_token_ids(id);
  }
  if (args.Has("special")) request.set_show_special(true);
  return request;
}

ExitCode RunDetokenize(const Args& args, Connection* connection, Terminal* terminal) {
  const absl::StatusOr<v1::DetokenizeRequest> request = ReadIds(args, terminal);
  if (!request.ok()) return FailUsage(terminal, request.status());
  grpc::ClientContext context;
  const Interrupt::Scope cancel(terminal->interrupt, [&context] { context.TryCancel(); });
  v1::DetokenizeResponse response;
  const grpc::Status status = connection->inference()->Detokenize(&context, *request, &response);
  if (!status.ok()) return FailCall(terminal, *connection, status);
  *terminal->out << (args.Has("json") ? JsonLine({{"text", response.text()}})
                                      : response.text() + "\n");
  return ExitCode::kOk;
}

}  // namespace

Command TokenizeCommand() {
  return {"tokenize",
          "[TEXT]...",
          "Print the token ids of a text.",
          {{"file", "FILE", "The whole file is one text; - is standard input."},
           {"special", "", "Control tokens written in the text become control tokens."},
           {"json", "", "Print {\"token_ids\": [...]}."}},
          RunTokenize};
}

Command DetokenizeCommand() {
  return {"detokenize",
          "[ID]...",
          "Print the text of token ids.",
          {{"ids-file", "FILE", "A JSON list of token ids; - is standard input."},
           {"special", "", "Show control tokens too."},
           {"json", "", "Print {\"text\": \"...\"}."}},
          RunDetokenize};
}

}  // namespace ebb::cli
