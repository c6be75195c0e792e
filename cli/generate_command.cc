// ebb generate and ebb chat: one prompt, one answer, streamed as text or printed as JSON.
#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status_macros.h"
#include "cli/answer_json.h"
#include "cli/command.h"
#include "cli/request_args.h"
#include "cli/text_file.h"

namespace ebb::cli {
namespace {

ExitCode PrintWhole(const v1::GenerateRequest& request, grpc::ClientContext* context,
                    Connection* connection, Terminal* terminal) {
  v1::GenerateResponse response;
  const grpc::Status status = connection->inference()->Generate(context, request, &response);
  if (!status.ok()) return FailCall(terminal, *connection, status);
  *terminal->out << JsonLine(AnswerJson(request, response));
  return ExitCode::kOk;
}

// Prints the text as it comes and ends it with a line break; `answer` gets all of it.
ExitCode PrintStream(const v1::GenerateRequest& request, grpc::ClientContext* context,
                     Connection* connection, Terminal* terminal, std::string* answer) {
  const auto reader = connection->inference()->GenerateStream(context, request);
  v1::GenerateStreamResponse message;
  while (reader->Read(&message)) {
    const std::string& text = message.delta().text();
    answer->append(text);
    *terminal->out << text << std::flush;
    // Nobody reads us any more: the server need not go on.
    if (!terminal->out->good()) context->TryCancel();
  }
  const grpc::Status status = reader->Finish();
  if (!terminal->out->good()) return ExitCode::kOk;  // Run says what is wrong.
  const bool line_open = answer->empty() ? status.ok() : answer->back() != '\n';
  if (line_open) *terminal->out << std::endl;
  if (!status.ok()) return FailCall(terminal, *connection, status);
  return ExitCode::kOk;
}

ExitCode Answer(const Args& args, const v1::GenerateRequest& request, Connection* connection,
                Terminal* terminal, std::string* answer) {
  grpc::ClientContext context;
  const absl::Status deadline = SetDeadline(args, std::nullopt, &context);
  if (!deadline.ok()) return FailUsage(terminal, deadline);
  const Interrupt::Scope cancel(terminal->interrupt, [&context] { context.TryCancel(); });
  return args.Has("json") ? PrintWhole(request, &context, connection, terminal)
                          : PrintStream(request, &context, connection, terminal, answer);
}

// ---- generate

absl::Status ReadPrompt(const Args& args, Terminal* terminal, v1::GenerateRequest* request) {
  if (!args.words().empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("unexpected word: ", args.words()[0], "; the prompt goes after --prompt"));
  }
  const int given = args.Has("prompt") + args.Has("prompt-file") + args.Has("prompt-ids");
  if (given != 1) {
    return absl::InvalidArgumentError(
        "give one of --prompt TEXT, --prompt-file FILE and --prompt-ids FILE");
  }
  if (args.Has("prompt-ids")) {
    const std::string path = *args.Text("prompt-ids");
    ASSIGN_OR_RETURN(const std::string text, ReadInput(path, terminal->in));
    ASSIGN_OR_RETURN(const std::vector<int64_t> ids, ParseIds(text, path));
    request->mutable_token_ids()->mutable_ids()->Assign(ids.begin(), ids.end());
  } else if (args.Has("prompt-file")) {
    const std::string path = *args.Text("prompt-file");
    ASSIGN_OR_RETURN(*request->mutable_text(), ReadInput(path, terminal->in));
    RETURN_IF_ERROR(CheckUtf8(request->text(), path));
  } else {
    request->set_text(*args.Text("prompt"));
    RETURN_IF_ERROR(CheckUtf8(request->text(), "--prompt"));
  }
  if (args.Has("special")) request->set_parse_special(true);
  return absl::OkStatus();
}

ExitCode RunGenerate(const Args& args, Connection* connection, Terminal* terminal) {
  v1::GenerateRequest request;
  absl::Status status = ReadPrompt(args, terminal, &request);
  if (status.ok()) status = ReadAnswerOptions(args, &request);
  if (!status.ok()) return FailUsage(terminal, status);
  if (args.Has("echo")) request.mutable_output()->set_echo(true);
  std::string answer;
  return Answer(args, request, connection, terminal, &answer);
}

// ---- chat

void AddMessage(const std::string& role, const std::string& content, v1::Chat* chat) {
  v1::ChatMessage* message = chat->add_messages();
  message->set_role(role);
  message->set_content(content);
}

// Asks for messages until the input ends; each answer becomes part of the conversation.
ExitCode Converse(const Args& args, v1::GenerateRequest request, Connection* connection,
                  Terminal* terminal) {
  *terminal->err << "Talk to the model; Ctrl-D ends.\n";
  std::string line;
  while (*terminal->err << "> " << std::flush, std::getline(*terminal->in, line)) {
    if (line.empty()) continue;
    const absl::Status utf8 = CheckUtf8(line, "message");
    if (!utf8.ok()) {
      *terminal->err << utf8.message() << "\n";
      continue;
    }
    AddMessage("user", line, request.mutable_chat());
    std::string answer;
    const ExitCode code = Answer(args, request, connection, terminal, &answer);
    if (code != ExitCode::kOk) return code;
    AddMessage("assistant", answer, request.mutable_chat());
  }
  *terminal->err << "\n";
  return ExitCode::kOk;
}

ExitCode RunChat(const Args& args, Connection* connection, Terminal* terminal) {
  v1::GenerateRequest request;
  absl::Status status = ReadAnswerOptions(args, &request);
  if (status.ok() && args.Has("system")) status = CheckUtf8(*args.Text("system"), "--system");
  if (!status.ok()) return FailUsage(terminal, status);
  if (args.Has("system")) AddMessage("system", *args.Text("system"), request.mutable_chat());

  if (args.words().empty() && terminal->interactive && !args.Has("json")) {
    return Converse(args, std::move(request), connection, terminal);
  }
  std::string message = absl::StrJoin(args.words(), " ");
  if (args.words().empty()) {
    absl::StatusOr<std::string> text = ReadInput("-", terminal->in);
    if (!text.ok()) return FailUsage(terminal, text.status());
    message = *std::move(text);
    // The line break that ends what a shell pipes in is not part of the message.
    if (!message.empty() && message.back() == '\n') message.pop_back();
  }
  status = CheckUtf8(message, "message");
  if (!status.ok()) return FailUsage(terminal, status);
  AddMessage("user", message, request.mutable_chat());
  std::string answer;
  return Answer(args, request, connection, terminal, &answer);
}

}  // namespace

Command GenerateCommand() {
  std::vector<Option> options = {
      {"prompt", "TEXT", "The prompt, as it is: no chat template is put around it."},
      {"prompt-file", "FILE", "The whole file is the prompt; - is standard input."},
      {"prompt-ids", "FILE", "The prompt as a JSON list of token ids; - is standard input."},
      {"echo", "", "The prompt's text goes before the answer."},
      {"special", "", "Control tokens written in the prompt become control tokens."},
  };
  for (const Option& option : AnswerOptions()) options.push_back(option);
  return {"generate", "", "Continue a text.", std::move(options), RunGenerate};
}

Command ChatCommand() {
  std::vector<Option> options = {{"system", "TEXT", "A system message before the conversation."}};
  for (const Option& option : AnswerOptions()) options.push_back(option);
  return {"chat", "[MESSAGE]...",
          "Answer a message (or standard input; at a terminal, hold a conversation).",
          std::move(options), RunChat};
}

}  // namespace ebb::cli
