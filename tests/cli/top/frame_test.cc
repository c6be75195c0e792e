#include "cli/top/frame.h"

#include <limits>

#include "absl/strings/match.h"
#include "gtest/gtest.h"
#include "tests/cli/top/samples.h"

namespace ebb::cli {
namespace {

class FrameTest : public testing::Test {
 protected:
  // A history of a minute and a half with a burst in it.
  FrameTest() {
    for (int second = 0; second <= 90; ++second) {
      Sample sample = BusySample(1000 + second);
      const int64_t burst = second < 30 ? 0 : second < 60 ? second - 30 : 30;
      sample.memory.set_held_bytes((36 + 2 * burst) * kMebibyte);
      sample.memory.set_needed_bytes(2 * burst * kMebibyte);
      history_.Add(sample);
      input_.sample = sample;
    }
    input_.address = "127.0.0.1:50051";
    input_.interval = absl::Seconds(1);
    input_.history = &history_;
    input_.rates = history_.RatesOver(absl::Seconds(5));
  }

  std::string Frame(int width, int height) const {
    const std::vector<StyledLine> lines = DrawFrame(input_, width, height);
    EXPECT_LE(static_cast<int>(lines.size()), height);
    for (const StyledLine& line : lines) EXPECT_LE(line.columns(), width) << line.Plain();
    return TextOf(lines);
  }
  // The line that begins so.
  std::string LineOf(absl::string_view beginning) const {
    for (const StyledLine& line : DrawFrame(input_, 80, 24)) {
      if (absl::StartsWith(line.Plain(), beginning)) return line.Plain();
    }
    return "none";
  }

  SampleHistory history_;
  FrameInput input_;
};

TEST_F(FrameTest, EightyByTwentyFour) {
  EXPECT_EQ("\n" + Frame(80, 24), R"(
tiny-model  ready  up 18 min                                     127.0.0.1:50051
requests  running       12  waiting        3  finished   2.0/s  preempted      4
tokens    prefilled  100/s  generated   40/s
memory    held    96.0 MiB  needed  60.0 MiB  cached   0 bytes  limit    128 MiB
pages     mapped        16  flips      1/min
[█████████████████████████████░░░░░░░░░░░░░░░░░               ] 75% of the limit

memory    █ needed  ░ held  ─ limit
  150 MiB                         ──────────────────────────────────────────────

                                                          ░░░░░░░░░░░░░░░░░░░░░░
                                                   ░░░░░░▁▂▃▄▅▆▇████████████████
  0 bytes                         ░░░░░░░░░░░░░░░▁▂▃▄▅▆▇████████████████████████
          2 min ago                                                          now

window   number     age  length  steps  seqs  demand  grant  pages  reason
prefill       9   2.8 s  315 ms     16     9     100    100      9  steady
prefill       8   3.0 s  280 ms     16     8      89     89   8→10  grow
decode       17  750 ms  595 ms     16    17     188    188     17  steady
decode       16   1.0 s  560 ms     16    16     177    160     16  limit
decode       15   1.2 s  525 ms     16    15     166    166     15  steady
decode       14   1.5 s  490 ms     16    14     155    155     14  steady
decode       13   1.8 s  455 ms     16    13     144    144     13  steady
decode       12   2.0 s  420 ms     16    12     133    133     12  steady
)");
}

TEST_F(FrameTest, AHundredAndTwentyByThirty) {
  EXPECT_EQ("\n" + Frame(120, 30), R"(
tiny-model  ready  up 18 min                                                                             127.0.0.1:50051
requests  running           12  waiting            3  finished       2.0/s  preempted          4
tokens    prefilled      100/s  generated       40/s
memory    held        96.0 MiB  needed      60.0 MiB  cached       0 bytes  limit        128 MiB
pages     mapped            16  flips          1/min
[████████████████████████████████████████████████░░░░░░░░░░░░░░░░░░░░░░░░░░░░                         ] 75% of the limit

memory    █ needed  ░ held  ─ limit
  150 MiB
                                                                          ──────────────────────────────────────────────

                                                                                                     ░░░░░░░░░░░░░░░░░░░
                                                                                                ░░░░░░░▁▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂
                                                                                           ░░░░░░░░▂▄▅▇█████████████████
                                                                          ░░░░░░░░░░░░░░░░░░░░▁▃▅▇██████████████████████
  0 bytes                                                                 ░░░░░░░░░░░░░░░▁▃▄▆███████████████████████████
          4 min ago                                                                                                  now

window   number     age  length  steps  seqs  demand  grant  pages  reason
prefill       9   2.8 s  315 ms     16     9     100    100      9  steady
prefill       8   3.0 s  280 ms     16     8      89     89   8→10  grow
decode       17  750 ms  595 ms     16    17     188    188     17  steady
decode       16   1.0 s  560 ms     16    16     177    160     16  limit
decode       15   1.2 s  525 ms     16    15     166    166     15  steady
decode       14   1.5 s  490 ms     16    14     155    155     14  steady
decode       13   1.8 s  455 ms     16    13     144    144     13  steady
decode       12   2.0 s  420 ms     16    12     133    133     12  steady
)");
}

TEST_F(FrameTest, FortyByTwenty) {
  EXPECT_EQ("\n" + Frame(40, 20), R"(
tiny-model  ready  up 18 min
running          12  waiting           3
finished      2.0/s  preempted         4
prefilled     100/s  generated      40/s
held       96.0 MiB  needed     60.0 MiB
cached      0 bytes  limit       128 MiB
mapped           16  flips         1/min
[██████████░░░░░░     ] 75% of the limit
memory    █ needed  ░ held  ─ limit
  150 MiB            ───────────────────
                              ░░▁▂▂▂▂▂▂▂
  0 bytes            ░░░░░░▁▃▄▆█████████
          2 min ago                  now
window  seqs demand grant pages reason
prefill    9    100   100     9 steady
prefill    8     89    89  8→10 grow
decode    17    188   188    17 steady
decode    16    177   160    16 limit
decode    15    166   166    15 steady
decode    14    155   155    14 steady
)");
}

TEST_F(FrameTest, SixtyByTwelve) {
  EXPECT_EQ("\n" + Frame(60, 12), R"(
tiny-model  ready  up 18 min                 127.0.0.1:50051
running         12  waiting          3  finished     2.0/s
preempted        4  prefilled    100/s  generated     40/s
held      96.0 MiB  needed    60.0 MiB  cached     0 bytes
limit      128 MiB  mapped          16  flips        1/min
[████████████████████░░░░░░░░░░░          ] 75% of the limit
memory    █ needed  ░ held  ─ limit
  150 MiB                                ░░░░░░▁▁▁▂▃▃▃▃▃▃▃▃▃
          4 min ago                                      now
window     age length steps seqs demand grant pages reason
prefill  2.8 s 315 ms    16    9    100   100     9 steady
decode  750 ms 595 ms    16   17    188   188    17 steady
)");
}

TEST_F(FrameTest, EverySizeIsKept) {
  for (const bool color : {false, true}) {
    input_.color = color;
    for (const bool silent : {false, true}) {
      if (silent) input_.silent_for = absl::Seconds(3);
      for (int width = 1; width <= 130; width += 1 + width / 20) {
        for (int height = 1; height <= 50; ++height) Frame(width, height);
      }
    }
  }
}

TEST_F(FrameTest, ASilentServerIsSaidAndTheLastFiguresStay) {
  input_.silent_for = absl::Seconds(12);
  input_.error = "no server answers\x1b[2J";
  input_.rates = {};
  const std::string frame = Frame(80, 24);
  EXPECT_EQ(frame.substr(0, frame.find("tokens")),
            "tiny-model  silent  up 18 min                                    127.0.0.1:50051\n"
            "no answer for 12 s, trying again (no server answers?[2J)\n"
            "requests  running       12  waiting        3  finished       -  preempted      4\n");
}

TEST_F(FrameTest, HeldOverTheLimitFillsTheGauge) {
  input_.sample.memory.set_limit_bytes(48 * kMebibyte);
  EXPECT_EQ(LineOf("["),
            "[████████████████████████████████████████████████████████████] 200% of the limit");
  input_.sample.memory.set_limit_bytes(1);
  EXPECT_EQ(LineOf("["),
            "[███████████████████████████████████████████████████████████] >999% of the limit");
}

TEST_F(FrameTest, ALimitOfZeroAndNone) {
  input_.sample.memory.set_limit_bytes(0);
  EXPECT_EQ(LineOf("["),
            "[█████████████████████████████████████████████████████] the limit leaves nothing");
  input_.sample.memory.set_held_bytes(0);
  input_.sample.memory.set_needed_bytes(0);
  EXPECT_EQ(LineOf("["),
            "[                                                     ] the limit leaves nothing");
  input_.sample.memory.clear_limit_bytes();
  EXPECT_EQ(LineOf("["),
            "[                                                            ] no limit is known");
}

// An older server, or another one.
TEST_F(FrameTest, AbsentFieldsAreDashes) {
  input_.sample = Sample();
  input_.rates = {};
  const SampleHistory none;
  input_.history = &none;
  EXPECT_EQ("\n" + Frame(80, 16), R"(
  ?                                                              127.0.0.1:50051
requests  running        -  waiting        -  finished       -  preempted      -
tokens    prefilled      -  generated      -
memory    held           -  needed         -  cached         -  limit          -
pages     mapped         -  flips          -
[                                                            ] no limit is known
memory    █ needed  ░ held  ─ limit
  1.0 MiB
  0 bytes
          2 min ago                                                          now
this server does not tell its windows
)");
}

TEST_F(FrameTest, HugeNumbersTouchNothing) {
  const int64_t most = std::numeric_limits<int64_t>::max();
  for (const int64_t number : {most, std::numeric_limits<int64_t>::min(), int64_t{-1}}) {
    v1::GetServerInfoResponse& server = input_.sample.server;
    server.set_running_requests(number);
    server.set_waiting_requests(number);
    server.set_preemptions_total(number);
    server.set_uptime_seconds(static_cast<double>(number));
    v1::GetMemoryResponse& memory = input_.sample.memory;
    memory.set_held_bytes(number);
    memory.set_needed_bytes(number);
    memory.set_cached_bytes(number);
    memory.set_limit_bytes(number);
    memory.set_pages_mapped(number);
    memory.set_flips_per_minute(number);
    memory.set_swapped_bytes(number);
    memory.set_swap_limit_bytes(number);
    input_.rates.finished = static_cast<double>(number);
    history_.Add(input_.sample);
    for (const int width : {20, 40, 80, 120}) Frame(width, 24);
    const std::string memory_line = LineOf("memory");
    if (number == most) {
      EXPECT_EQ(memory_line,
                "memory    held     8.0 EiB  needed   8.0 EiB  cached   8.0 EiB  limit    8.0 EiB");
    }
  }
}

TEST_F(FrameTest, ServersThatAreDraining) {
  input_.sample.server.set_state(v1::SERVER_STATE_DRAINING);
  EXPECT_EQ(LineOf("tiny-model").substr(0, 32), "tiny-model  draining  up 18 min ");
}

TEST_F(FrameTest, TheSwapSpaceIsShownWhereThereIsOne) {
  EXPECT_EQ(LineOf("swap"), "none");
  input_.sample.memory.set_swapped_bytes(12 * kMebibyte);
  input_.sample.memory.set_swap_limit_bytes(1024 * kMebibyte);
  EXPECT_EQ(LineOf("swap"), "swap      swapped 12.0 MiB  up to    1.0 GiB");
  EXPECT_EQ(LineOf("pages"), "pages     mapped        16  flips      1/min");
}

TEST_F(FrameTest, ALongNameLeavesTheStateItsPlace) {
  input_.sample.model.set_name("a-model-with-a-name-that-is-longer-than-the-line");
  EXPECT_EQ(Frame(40, 1), "a-model-with-a-name-th  ready  up 18 min\n");
}

TEST_F(FrameTest, ALimitThatTheChartDoesNotShowIsToldOf) {
  EXPECT_EQ(LineOf("memory    █"), "memory    █ needed  ░ held  ─ limit");
  input_.sample.memory.set_limit_bytes(1024 * kMebibyte);
  EXPECT_EQ(LineOf("memory    █"), "memory    █ needed  ░ held  ─ limit ↑");
}

}  // namespace
}  // namespace ebb::cli
