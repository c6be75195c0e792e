// What is learned of lengths, kept in a file: docs/hostile-inputs.md, "Learned lengths".
#include "server/lengths_file.h"

#include <signal.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>

#include "absl/strings/match.h"
#include "base/check.h"
#include "base/clock_fake.h"
#include "engine/engine_fake.h"
#include "gtest/gtest.h"
#include "scheduler/learned_lengths.h"
#include "server/replace_file.h"
#include "tests/server/keep_log.h"

namespace ebb::server {
namespace {

constexpr char kModel[] = "tiny";

std::string Learned(int64_t length) {
  scheduler::LearnedLengths lengths{scheduler::LearnedLengthsOptions()};
  engine::AnswerView answer;
  answer.max_tokens = 4096;
  answer.generated_tokens = length;
  for (int i = 0; i < 300; ++i) lengths.End(answer, true);
  return lengths.Save();
}

class LengthsFileTest : public testing::Test {
 protected:
  LengthsFileTest() {
    char name[] = "/tmp/ebb-lengths-XXXXXX";
    CHECK(mkdtemp(name) != nullptr);
    directory_ = name;
    path_ = directory_ + "/lengths";
  }
  ~LengthsFileTest() override { std::filesystem::remove_all(directory_); }

  LengthsFile File(const std::string& model = kModel) { return {path_, model, &clock_, &log_}; }
  std::string Bytes() const {
    std::ifstream file(path_, std::ios::binary);
    std::stringstream bytes;
    bytes << file.rdbuf();
    return bytes.str();
  }
  // What a start says of the file, which is no reason not to start.
  nlohmann::ordered_json LineOfRead(const std::string& model = kModel) {
    const scheduler::LearnedTables tables = File(model).Read();
    const nlohmann::ordered_json line = log_.Of("lengths").back();
    EXPECT_EQ(line["file"], path_);
    EXPECT_EQ(line["state"] == "read", tables.all.weight() > 0);
    return line;
  }
  void ExpectRefused(const std::string& why) {
    const nlohmann::ordered_json line = LineOfRead();
    EXPECT_EQ(line["state"], "refused");
    const std::string message = line.value("message", "");
    EXPECT_TRUE(absl::StrContains(message, why)) << message;
    EXPECT_TRUE(absl::StartsWith(message, "scheduler.lengths_file: " + path_)) << message;
  }

  base::FakeClock clock_;
  KeepLog log_;
  engine::FakeEngine engine_;
  std::string directory_;
  std::string path_;
};

TEST_F(LengthsFileTest, WhatIsSavedIsReadAgain) {
  EXPECT_EQ(LineOfRead()["state"], "absent");
  const std::string learned = Learned(20);
  engine_.SetLengths({}, learned);
  File().Save(engine_);
  EXPECT_EQ(scheduler::EncodeTables(File().Read()), learned);
  const nlohmann::ordered_json line = LineOfRead();
  EXPECT_EQ(line["state"], "read");
  EXPECT_EQ(line["classes"], 1);
  EXPECT_GT(line["answers"], 100);
  EXPECT_TRUE(log_.Of("lengths_not_saved").empty());
  struct stat info = {};
  ASSERT_EQ(stat(path_.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u) << "it has the tenants' names";
  EXPECT_FALSE(std::filesystem::exists(path_ + ".new"));
}

class NoSink final : public engine::RequestSink {
 public:
  void OnPromptLogprobs(std::vector<engine::PromptLogprob>) override {}
  engine::SinkAnswer OnToken(const engine::Token&) override {
    return engine::SinkAnswer::kContinue;
  }
  void OnFinish(const engine::Finish&) override {}
};

TEST_F(LengthsFileTest, WhileTheServerRunsItIsSavedNowAndThen) {
  engine_.SetLengths({}, Learned(20));
  LengthsFile file = File();
  const auto answer_one = [this] {
    engine::Request request;
    request.prompt = {1, 2};
    request.stopping.max_tokens = 2;
    ASSERT_TRUE(engine_.Submit(request, std::make_shared<NoSink>()).ok());
    while (engine_.Load().finished_total == 0) std::this_thread::yield();
  };
  answer_one();
  clock_.Advance(LengthsFile::kSaveEvery - absl::Seconds(1));
  file.Tick(engine_);
  EXPECT_FALSE(std::filesystem::exists(path_)) << "not yet";
  clock_.Advance(absl::Seconds(1));
  file.Tick(engine_);
  EXPECT_TRUE(std::filesystem::exists(path_));
  // Nothing has ended since: nothing is written.
  std::filesystem::remove(path_);
  clock_.Advance(LengthsFile::kSaveEvery);
  file.Tick(engine_);
  EXPECT_FALSE(std::filesystem::exists(path_));
}

TEST_F(LengthsFileTest, WhatIsNoFileIsRefusedAtOnce) {
  std::filesystem::create_directory(path_);
  ExpectRefused("is not a regular file");
  std::filesystem::remove(path_);
  ASSERT_EQ(mkfifo(path_.c_str(), 0600), 0);
  ExpectRefused("is not a regular file");
  std::filesystem::remove(path_);
  std::filesystem::create_symlink("lengths", path_);
  ExpectRefused("cannot be opened");
  std::filesystem::remove(path_);
  std::filesystem::create_symlink("/dev/zero", path_);
  ExpectRefused("is not a regular file");
}

TEST_F(LengthsFileTest, BadContentsAreRefused) {
  std::ofstream(path_) << "not lengths";
  ExpectRefused("at byte 0: no file of lengths");
  std::ofstream(path_, std::ios::trunc).flush();
  ExpectRefused("at byte 0: no file of lengths");
  engine_.SetLengths({}, Learned(20));
  File().Save(engine_);
  std::filesystem::resize_file(path_, 500);
  ExpectRefused("cut off");
  std::filesystem::resize_file(path_, 1 << 30);  // Sparse.
  ExpectRefused("is larger than");
}

TEST_F(LengthsFileTest, AnotherModelBeginsWithout) {
  engine_.SetLengths({}, Learned(20));
  File("other").Save(engine_);
  ExpectRefused("of another model, \"other\"; this is \"tiny\"");
}

TEST_F(LengthsFileTest, ADirectoryThatCannotBeWrittenIsToldAndServedWithout) {
  path_ = directory_ + "/none/lengths";
  engine_.SetLengths({}, Learned(20));
  LengthsFile file = File();
  file.Save(engine_);
  file.Save(engine_);
  const auto lines = log_.Of("lengths_not_saved");
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_EQ(lines[0]["message"], path_ + ".new: open: No such file or directory");
}

// The file is made under another name first, and that one belongs to whoever holds its lock.
TEST_F(LengthsFileTest, TwoThatWriteDoNotMixTheirs) {
  ASSERT_TRUE(ReplaceFile(path_, "old").ok());
  const int held = open((path_ + ".new").c_str(), O_WRONLY | O_CREAT, 0600);
  ASSERT_EQ(flock(held, LOCK_EX), 0);
  const absl::Status written = ReplaceFile(path_, "new");
  EXPECT_EQ(written.message(), path_ + ".new: another process writes it");
  EXPECT_EQ(Bytes(), "old");
  close(held);
  EXPECT_TRUE(ReplaceFile(path_, "new").ok());
  EXPECT_EQ(Bytes(), "new");
}

TEST_F(LengthsFileTest, WhatLiesUnderTheOtherNameIsNotFollowed) {
  const std::string made = path_ + ".new";
  const std::string victim = directory_ + "/victim";
  std::ofstream(victim) << "precious";
  std::filesystem::create_symlink("victim", made);
  EXPECT_FALSE(ReplaceFile(path_, "new").ok());
  EXPECT_EQ(std::filesystem::file_size(victim), 8u);
  std::filesystem::remove(made);
  ASSERT_EQ(mkfifo(made.c_str(), 0600), 0);
  EXPECT_FALSE(ReplaceFile(path_, "new").ok());
  std::filesystem::remove(made);
  std::filesystem::create_directory(made);
  EXPECT_FALSE(ReplaceFile(path_, "new").ok());
}

// Runs in a process of its own, which a signal ends. True when it was that one.
bool EndedBy(int signal, pid_t child) {
  int status = 0;
  return waitpid(child, &status, 0) == child && WIFSIGNALED(status) && WTERMSIG(status) == signal;
}

// The system ends the writer when the file has so many bytes: in the midst of it, each time.
TEST_F(LengthsFileTest, AProcessThatDiesWhileItWritesLeavesTheOldFile) {
  engine_.SetLengths({}, Learned(20));
  File().Save(engine_);
  const std::string old = Bytes();
  const std::string next(old.size(), 'n');
  for (const size_t bytes : {size_t{1}, old.size() / 2, old.size() - 1}) {
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      const rlimit no_core = {0, 0};
      const rlimit some = {bytes, bytes};
      signal(SIGXFSZ, SIG_DFL);
      if (setrlimit(RLIMIT_CORE, &no_core) == 0 && setrlimit(RLIMIT_FSIZE, &some) == 0) {
        (void)ReplaceFile(path_, next);
      }
      _exit(0);
    }
    EXPECT_TRUE(EndedBy(SIGXFSZ, child));
    EXPECT_EQ(std::filesystem::file_size(path_ + ".new"), bytes) << "it died in the midst";
    EXPECT_EQ(Bytes(), old);
    EXPECT_EQ(LineOfRead()["state"], "read");
  }
  // What it left is in nobody's way.
  ASSERT_TRUE(ReplaceFile(path_, next).ok());
  EXPECT_EQ(Bytes(), next);
}

TEST_F(LengthsFileTest, KilledAtAnyTimeItIsTheOldOrTheNew) {
  const std::string contents[] = {std::string(300'000, 'a'), std::string(300'000, 'b')};
  ASSERT_TRUE(ReplaceFile(path_, contents[0]).ok());
  for (int round = 0; round < 20; ++round) {
    int told[2];
    ASSERT_EQ(pipe(told), 0);
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      for (int i = 0;; ++i) {
        if (!ReplaceFile(path_, contents[i % 2]).ok() || write(told[1], "x", 1) != 1) _exit(1);
      }
    }
    // It writes again and again; after a few times it is killed wherever it is.
    char some[4];
    for (int i = 0; i <= round % 3; ++i) EXPECT_EQ(read(told[0], some, 1), 1);
    kill(child, SIGKILL);
    EXPECT_TRUE(EndedBy(SIGKILL, child));
    close(told[0]);
    close(told[1]);
    const std::string bytes = Bytes();
    EXPECT_TRUE(bytes == contents[0] || bytes == contents[1]) << bytes.size();
  }
}

}  // namespace
}  // namespace ebb::server
