// FakeServer: a gRPC server on a free port that answers by a fixed script and keeps what it was
// asked.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/check.h"
#include "base/mutex.h"
#include "grpcpp/ext/health_check_service_server_builder_option.h"
#include "grpcpp/grpcpp.h"
#include "grpcpp/health_check_service_interface.h"
#include "proto/ebb.grpc.pb.h"

namespace ebb::cli {

// The script, by the prompt's text:
//   "forever"   one piece of text, then nothing until the client leaves
//   "refuse"    RESOURCE_EXHAUSTED
//   "break"     one piece of text, then INTERNAL
//   otherwise   "Hé" "llo", tokens 11 and 12, then Finished
// A prompt of token ids gets as many tokens as max_tokens asks for, each in a message of its own;
// if it asks for kForever, it is like the text "forever".
class FakeServer {
 public:
  static constexpr int64_t kForever = 1'000'000;

  FakeServer() : inference_(this) {
    grpc::EnableDefaultHealthCheckService(true);
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port_);
    builder.RegisterService(&inference_);
    builder.RegisterService(&control_);
    server_ = builder.BuildAndStart();
    CHECK(server_ != nullptr);
    server_->GetHealthCheckService()->SetServingStatus(true);
  }
  ~FakeServer() { server_->Shutdown(); }

  std::string address() const { return "127.0.0.1:" + std::to_string(port_); }
  void SetServing(bool serving) { server_->GetHealthCheckService()->SetServingStatus(serving); }

  v1::GenerateRequest last_request() const {
    base::MutexLock lock(&mutex_);
    return last_request_;
  }
  // The texts and ids that were given to Tokenize and Detokenize.
  v1::TokenizeRequest last_tokenize() const {
    base::MutexLock lock(&mutex_);
    return last_tokenize_;
  }
  // Waits for so many "forever" requests to have begun, to have been cancelled.
  void AwaitStarted(int count = 1) { Await(&started_, count); }
  void AwaitCancelled(int count = 1) { Await(&cancelled_, count); }

 private:
  void Await(int* seen, int count) {
    base::MutexLock lock(&mutex_);
    while (*seen < count) changed_.Wait(&mutex_);
  }
  void Count(int* count) {
    base::MutexLock lock(&mutex_);
    ++*count;
    changed_.SignalAll();
  }
  void Keep(const v1::GenerateRequest& request) {
    base::MutexLock lock(&mutex_);
    last_request_ = request;
  }

  static bool IsForever(const v1::GenerateRequest& request) {
    return request.text() == "forever" || request.stopping().max_tokens() == kForever;
  }

  static std::vector<v1::GenerateStreamResponse> Script(const v1::GenerateRequest& request) {
    std::vector<v1::GenerateStreamResponse> messages(1);
    messages[0].mutable_prompt_info()->set_prompt_tokens(3);
    const bool by_count = request.has_token_ids() && !IsForever(request);
    const int64_t tokens = by_count ? std::max<int64_t>(0, request.stopping().max_tokens()) : 2;
    for (int64_t i = 0; i < tokens; ++i) {
      v1::Delta* delta = messages.emplace_back().mutable_delta();
      delta->set_text(i == 0 ? "H\u00e9" : "llo");
      delta->add_token_ids(static_cast<int32_t>(11 + i));
    }
    if (IsForever(request) || request.text() == "break") {
      messages.resize(2);
      return messages;
    }
    messages.emplace_back().mutable_finished()->set_finish_reason(v1::FINISH_REASON_STOP);
    return messages;
  }

  // Writes the script, then finishes, or waits for the client to leave.
  class Stream final : public grpc::ServerWriteReactor<v1::GenerateStreamResponse> {
   public:
    Stream(FakeServer* fake, const v1::GenerateRequest& request)
        : fake_(fake),
          prompt_(request.text()),
          forever_(IsForever(request)),
          messages_(Script(request)) {
      fake_->Keep(request);
      if (prompt_ == "refuse") {
        Finish(grpc::Status(grpc::StatusCode::RESOURCE_EXHAUSTED, "the queue is full"));
      } else {
        StartWrite(&messages_[0]);
      }
    }
    void OnWriteDone(bool ok) override {
      if (ok && ++next_ < messages_.size()) return StartWrite(&messages_[next_]);
      if (forever_) return fake_->Count(&fake_->started_);
      Finish(prompt_ == "break" ? grpc::Status(grpc::StatusCode::INTERNAL, "it broke")
                                : grpc::Status::OK);
    }
    void OnCancel() override {
      if (!forever_) return;
      fake_->Count(&fake_->cancelled_);
      Finish(grpc::Status::CANCELLED);
    }
    void OnDone() override { delete this; }

   private:
    FakeServer* const fake_;
    const std::string prompt_;
    const bool forever_;
    std::vector<v1::GenerateStreamResponse> messages_;
    size_t next_ = 0;
  };

  class Unary final : public grpc::ServerUnaryReactor {
   public:
    Unary(FakeServer* fake, const v1::GenerateRequest& request, v1::GenerateResponse* response)
        : fake_(fake), forever_(IsForever(request)) {
      fake_->Keep(request);
      if (forever_) {
        fake_->Count(&fake_->started_);
        return;
      }
      if (request.text() == "refuse") {
        Finish(grpc::Status(grpc::StatusCode::RESOURCE_EXHAUSTED, "the queue is full"));
        return;
      }
      Fill(response);
      Finish(grpc::Status::OK);
    }
    void OnCancel() override {
      if (!forever_) return;
      fake_->Count(&fake_->cancelled_);
      Finish(grpc::Status::CANCELLED);
    }
    void OnDone() override { delete this; }

   private:
    static void AddLogprobs(int32_t id, float logprob, v1::TokenLogprobs* token) {
      token->set_token_id(id);
      token->set_logprob(logprob);
      v1::TokenLogprobs::Alternative* top = token->add_top();
      top->set_token_id(id + 1);
      top->set_logprob(logprob / 2);
    }
    static void Fill(v1::GenerateResponse* response) {
      response->set_request_id("r1");
      response->set_text("H\u00e9llo");
      for (int32_t id : {11, 12}) response->add_token_ids(id);
      for (int32_t id : {1, 2, 3}) response->add_prompt_token_ids(id);
      for (int32_t id : {11, 12}) AddLogprobs(id, -0.5f, response->add_logprobs());
      for (int32_t id : {2, 3}) AddLogprobs(id, -1.5f, response->add_prompt_logprobs());
      v1::Finished* finished = response->mutable_finished();
      finished->set_finish_reason(v1::FINISH_REASON_STOP);
      finished->set_stop_token_id(2);
      finished->mutable_usage()->set_prompt_tokens(3);
      finished->mutable_usage()->set_completion_tokens(2);
      finished->mutable_usage()->set_preemptions(0);
      finished->mutable_timings()->set_queue_seconds(0.25);
      finished->mutable_timings()->set_first_token_seconds(0.5);
      finished->mutable_timings()->set_total_seconds(1);
    }
    FakeServer* const fake_;
    const bool forever_;
  };

  class Inference final : public v1::Inference::CallbackService {
   public:
    explicit Inference(FakeServer* fake) : fake_(fake) {}
    grpc::ServerUnaryReactor* Generate(grpc::CallbackServerContext*,
                                       const v1::GenerateRequest* request,
                                       v1::GenerateResponse* response) override {
      return new Unary(fake_, *request, response);
    }
    grpc::ServerWriteReactor<v1::GenerateStreamResponse>* GenerateStream(
        grpc::CallbackServerContext*, const v1::GenerateRequest* request) override {
      return new Stream(fake_, *request);
    }
    // One token for each byte.
    grpc::ServerUnaryReactor* Tokenize(grpc::CallbackServerContext* context,
                                       const v1::TokenizeRequest* request,
                                       v1::TokenizeResponse* response) override {
      for (char c : request->text()) response->add_token_ids(static_cast<unsigned char>(c));
      {
        base::MutexLock lock(&fake_->mutex_);
        fake_->last_tokenize_ = *request;
      }
      return FinishOk(context);
    }
    grpc::ServerUnaryReactor* Detokenize(grpc::CallbackServerContext* context,
                                         const v1::DetokenizeRequest* request,
                                         v1::DetokenizeResponse* response) override {
      std::string text;
      for (int64_t id : request->token_ids()) text.push_back(static_cast<char>(id));
      response->set_text(text + (request->show_special() ? "<end>" : ""));
      return FinishOk(context);
    }

   private:
    static grpc::ServerUnaryReactor* FinishOk(grpc::CallbackServerContext* context) {
      grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
      reactor->Finish(grpc::Status::OK);
      return reactor;
    }
    FakeServer* const fake_;
  };

  class Control final : public v1::Control::Service {
   public:
    grpc::Status GetModelInfo(grpc::ServerContext*, const v1::GetModelInfoRequest*,
                              v1::GetModelInfoResponse* response) override {
      response->set_name("fake");
      response->set_vocabulary_tokens(1000);
      return grpc::Status::OK;
    }
    grpc::Status GetServerInfo(grpc::ServerContext*, const v1::GetServerInfoRequest*,
                               v1::GetServerInfoResponse* response) override {
      response->set_state(v1::SERVER_STATE_READY);
      response->set_running_requests(1);
      response->set_waiting_requests(2);
      response->set_finished_total(3);
      response->set_preemptions_total(0);
      return grpc::Status::OK;
    }
    // GetWindows is left out: the server is an old one.
    grpc::Status GetMemory(grpc::ServerContext*, const v1::GetMemoryRequest*,
                           v1::GetMemoryResponse* response) override {
      response->set_held_bytes(6291456);
      response->set_needed_bytes(3145728);
      response->set_cached_bytes(0);
      response->set_limit_bytes(1073741824);
      response->set_pages_mapped(1);
      response->set_page_bytes(6291456);
      response->set_block_tokens(16);
      response->set_moved_bytes_total(4096);
      response->set_flips_per_minute(2);
      response->set_swapped_bytes(2097152);
      response->set_swap_limit_bytes(67108864);
      return grpc::Status::OK;
    }
    // Below 1000 bytes is deferred.
    grpc::Status SetMemoryLimit(grpc::ServerContext*, const v1::SetMemoryLimitRequest* request,
                                v1::SetMemoryLimitResponse* response) override {
      const bool applied = request->limit_bytes() >= 1000;
      response->set_outcome(applied ? v1::SetMemoryLimitResponse::OUTCOME_APPLIED
                                    : v1::SetMemoryLimitResponse::OUTCOME_DEFERRED);
      response->set_limit_bytes(request->limit_bytes());
      response->set_held_bytes(1000);
      response->set_deferred_bytes(applied ? 0 : 1000 - request->limit_bytes());
      // Revision 7 is in force.
      response->set_revision(std::max<uint64_t>(7, request->revision()));
      response->set_stale(request->revision() > 0 && request->revision() <= 7);
      response->set_first_needs_bytes(applied ? 0 : 700);
      response->set_preempted_sequences(3);
      response->set_ended_requests(request->force() ? 1 : 0);
      response->set_pages_unmapped(4);
      response->set_held_before_bytes(5000);
      response->set_took_ms(static_cast<double>(request->deadline_ms()) / 2);
      return grpc::Status::OK;
    }
  };

  mutable base::Mutex mutex_;
  base::CondVar changed_;
  v1::GenerateRequest last_request_;
  v1::TokenizeRequest last_tokenize_;
  int started_ = 0;
  int cancelled_ = 0;
  Inference inference_;
  Control control_;
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace ebb::cli
