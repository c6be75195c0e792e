#include "cli/plot/picture.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/time.h"
#include "base/check.h"
#include "cli/plot/axis.h"
#include "cli/plot/xml.h"

namespace ebb::cli {
namespace {

using Frame = PictureFrame;

// Blue and vermilion of Okabe and Ito (https://jfly.uni-koeln.de/color/), lighter in the dark.
constexpr absl::string_view kStyle = R"(<style>
.ebb-plot text { font: 13px system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif }
.ebb-plot .title { font-size: 16px; font-weight: 600 }
.ebb-plot .ground { fill: #ffffff }
.ebb-plot text { fill: #24292f }
.ebb-plot .quiet { fill: #57606a }
.ebb-plot .grid { stroke: #d8dee4; fill: none }
.ebb-plot .axis { stroke: #57606a; fill: none }
.ebb-plot .held-area { fill: #0072b2; fill-opacity: 0.22; stroke: none }
.ebb-plot .held { stroke: #0072b2; stroke-width: 1.6; fill: none }
.ebb-plot .needed { stroke: #c04a00; stroke-width: 1.8; fill: none }
.ebb-plot .limit { stroke: #424a53; stroke-width: 1.6; stroke-dasharray: 7 4; fill: none }
.ebb-plot .limit-mark { fill: #424a53; stroke: none }
.ebb-plot .preemption-mark { fill: #a3387a; stroke: none }
@media (prefers-color-scheme: dark) {
.ebb-plot .ground { fill: #0d1117 }
.ebb-plot text { fill: #e6edf3 }
.ebb-plot .quiet { fill: #9da7b3 }
.ebb-plot .grid { stroke: #2a313a }
.ebb-plot .axis { stroke: #9da7b3 }
.ebb-plot .held-area { fill: #56b4e9; fill-opacity: 0.25 }
.ebb-plot .held { stroke: #56b4e9 }
.ebb-plot .needed { stroke: #ff9f43 }
.ebb-plot .limit { stroke: #c9d1d9 }
.ebb-plot .limit-mark { fill: #c9d1d9 }
.ebb-plot .preemption-mark { fill: #f08ac4 }
}
</style>
)";

// The limit is drawn as long as held or needed fill this part of the height.
constexpr double kCurvesShareMin = 0.55;

std::string Number(double value) {
  std::string text = absl::StrFormat("%.1f", value);
  if (text.size() > 2 && text.substr(text.size() - 2) == ".0") text.resize(text.size() - 2);
  return text;
}

std::string Text(double x, double y, absl::string_view attributes, absl::string_view escaped) {
  return absl::StrCat("<text x=\"", Number(x), "\" y=\"", Number(y), "\"",
                      attributes.empty() ? "" : " ", attributes, ">", escaped, "</text>\n");
}

// Writes steps, leaving out what would not move the pen.
class StepPath {
 public:
  void Move(double x, double y) {
    Put('M', Number(x));
    absl::StrAppend(&data_, ",", Number(y));
    x_ = Number(x);
    y_ = Number(y);
  }
  void To(double x, double y) {
    if (Number(x) != x_) Put('H', x_ = Number(x));
    if (Number(y) != y_) Put('V', y_ = Number(y));
  }
  void Close() { absl::StrAppend(&data_, "Z"); }
  const std::string& data() const { return data_; }

 private:
  void Put(char verb, absl::string_view number) {
    data_.push_back(verb);
    absl::StrAppend(&data_, number);
  }
  std::string data_, x_, y_;
};

// A line, or an area down to the floor. Within a bucket, which is no wider than a pixel, the pen
// touches the least and the greatest value.
std::string CurvePath(const MemorySeries& series, const Frame& frame, Curve curve, bool area) {
  StepPath path;
  const Bucket* before = nullptr;
  const auto end = [&] {
    if (!area || before == nullptr) return;
    path.To(frame.X(before->last_ms), frame.Y(0));
    path.Close();
  };
  for (const Bucket& bucket : series.buckets()) {
    const Extent& extent = bucket.of(curve);
    const double x = frame.X(bucket.first_ms);
    if (before == nullptr || bucket.pause_before) {
      end();
      path.Move(x, area ? frame.Y(0) : frame.Y(static_cast<double>(extent.first)));
    }
    path.To(x, frame.Y(static_cast<double>(extent.first)));
    path.To(x, frame.Y(static_cast<double>(extent.min)));
    path.To(x, frame.Y(static_cast<double>(extent.max)));
    path.To(x, frame.Y(static_cast<double>(extent.last)));
    path.To(frame.X(bucket.last_ms), frame.Y(static_cast<double>(extent.last)));
    before = &bucket;
  }
  end();
  return path.data();
}

std::string Grid(const Frame& frame) {
  std::string out;
  const Axis bytes = ByteAxis(frame.top_bytes);
  for (const Axis::Tick& tick : bytes.ticks) {
    const double y = frame.Y(tick.value);
    absl::StrAppend(
        &out, "<path class=\"", tick.value == 0 ? "axis" : "grid", "\" d=\"M", Number(Frame::kLeft),
        ",", Number(y), "H", Number(Frame::kRight), "\"/>\n",
        Text(Frame::kLeft - 8, y + 4.5, "class=\"quiet y\" text-anchor=\"end\"", tick.text));
  }
  absl::StrAppend(&out, Text(Frame::kLeft - 8, Frame::kTop - 14,
                             "class=\"quiet y-unit\" text-anchor=\"end\"", bytes.unit));
  for (const Axis::Tick& tick : TimeAxis(frame.seconds).ticks) {
    const double x = Frame::kLeft + tick.value / frame.seconds * (Frame::kRight - Frame::kLeft);
    absl::StrAppend(
        &out, "<path class=\"axis\" d=\"M", Number(x), ",", Number(Frame::kBottom), "v5\"/>\n",
        Text(x, Frame::kBottom + 20, "class=\"quiet x\" text-anchor=\"middle\"", tick.text));
  }
  return out;
}

// Marks that would lie on one another are one, which tells how many it stands for.
struct Mark {
  double x = 0;
  double y = 0;
  int64_t count = 0;
};

void AddMark(const Mark& mark, std::vector<Mark>* marks) {
  constexpr double kApartMin = 9;
  if (!marks->empty() && mark.x - marks->back().x < kApartMin) {
    marks->back().count += mark.count;
  } else {
    marks->push_back(mark);
  }
}

std::string Marks(const MemorySeries& series, const Frame& frame) {
  std::vector<Mark> preemptions, changes;
  for (const Bucket& bucket : series.buckets()) {
    const double x = frame.X(bucket.first_ms);
    if (bucket.preemptions > 0) AddMark({x, Frame::kTop - 3, bucket.preemptions}, &preemptions);
    if (bucket.limit_changes > 0) {
      const double y = frame.Y(static_cast<double>(bucket.of(Curve::kLimit).last));
      AddMark({x, std::max(y, Frame::kTop), bucket.limit_changes}, &changes);
    }
  }
  std::string out;
  for (const Mark& mark : preemptions) {
    absl::StrAppend(&out, "<path class=\"preemption-mark\" d=\"M", Number(mark.x), ",",
                    Number(mark.y), "l-4.5,-9h9z\"><title>", mark.count,
                    mark.count == 1 ? " preemption" : " preemptions", "</title></path>\n");
  }
  for (const Mark& mark : changes) {
    absl::StrAppend(&out, "<path class=\"limit-mark\" d=\"M", Number(mark.x - 5), ",",
                    Number(mark.y), "l5,-5l5,5l-5,5z\"><title>", mark.count,
                    mark.count == 1 ? " change" : " changes", " of the limit</title></path>\n");
  }
  return out;
}

std::string LimitName(const MemorySeries& series, const Frame& frame) {
  const auto greatest = static_cast<double>(series.Peak(Curve::kLimit));
  if (greatest <= frame.top_bytes) return "limit";
  return absl::StrCat("limit (", series.limit_changes() > 0 ? "up to " : "", BytesText(greatest),
                      ", above the picture)");
}

std::string Legend(const MemorySeries& series, const Frame& frame) {
  constexpr double kY = 48, kLetter = 6.5, kGap = 22, kSwatch = 24;
  double x = Frame::kLeft;
  std::string out;
  const auto name = [&](const std::string& words) {
    absl::StrAppend(&out, Text(x + kSwatch, kY, "class=\"legend\"", words));
    x += kSwatch + static_cast<double>(words.size()) * kLetter + kGap;
  };
  const auto line = [&](absl::string_view curve) {
    absl::StrAppend(&out, "<path class=\"", curve, "\" d=\"M", Number(x), ",", Number(kY - 4.5),
                    "h18\"/>\n");
  };
  absl::StrAppend(&out, "<rect class=\"held-area\" x=\"", Number(x), "\" y=\"", Number(kY - 4.5),
                  "\" width=\"18\" height=\"7\"/>\n");
  line("held");
  name("held");
  line("needed");
  name("needed");
  line("limit");
  name(LimitName(series, frame));
  if (series.limit_changes() > 0) {
    absl::StrAppend(&out, "<path class=\"limit-mark\" d=\"M", Number(x + 5), ",", Number(kY - 4.5),
                    "l5,-5l5,5l-5,5z\"/>\n");
    name("limit changed");
  }
  if (series.preemptions() > 0) {
    absl::StrAppend(&out, "<path class=\"preemption-mark\" d=\"M", Number(x + 10), ",", Number(kY),
                    "l-4.5,-9h9z\"/>\n");
    name("preemption");
  }
  return out;
}

// For those who hear the picture instead of seeing it.
std::string Description(const MemoryHistory& history, const Frame& frame) {
  const MemorySeries& series = history.series;
  return absl::StrCat("Over ", SecondsText(frame.seconds), " held peaks at ",
                      BytesText(static_cast<double>(series.Peak(Curve::kHeld))), ", needed at ",
                      BytesText(static_cast<double>(series.Peak(Curve::kNeeded))), "; ",
                      series.samples(), " samples, ", history.preemptions, " preemptions.");
}

}  // namespace

double PictureFrame::X(int64_t time_ms) const {
  return kLeft + static_cast<double>(time_ms - start_ms) / 1000 / seconds * (kRight - kLeft);
}

double PictureFrame::Y(double bytes) const {
  return kBottom - bytes / top_bytes * (kBottom - kTop);
}

PictureFrame FrameOf(const MemorySeries& series) {
  PictureFrame frame;
  frame.start_ms = series.start_ms();
  frame.seconds = std::max(0.001, static_cast<double>(series.end_ms() - series.start_ms()) / 1000);
  const auto peak =
      static_cast<double>(std::max(series.Peak(Curve::kHeld), series.Peak(Curve::kNeeded)));
  double top = peak;
  for (const Bucket& bucket : series.buckets()) {
    const auto limit = static_cast<double>(bucket.of(Curve::kLimit).max);
    if (limit * kCurvesShareMin <= peak) top = std::max(top, limit);
  }
  if (top == 0) top = std::max<double>(1, static_cast<double>(series.Peak(Curve::kLimit)));
  frame.top_bytes = top * 1.06;
  return frame;
}

std::string DrawPicture(const MemoryHistory& history, const std::string& title) {
  const MemorySeries& series = history.series;
  CHECK_GT(series.samples(), 0);
  const Frame frame = FrameOf(series);
  const std::string safe_title = EscapeXml(title, 60);
  std::string out = absl::StrCat(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"ebb-plot\" role=\"img\" viewBox=\"0 0 ",
      Number(Frame::kWidth), " ", Number(Frame::kHeight), "\" width=\"", Number(Frame::kWidth),
      "\" height=\"", Number(Frame::kHeight), "\">\n<title>", safe_title, "</title>\n<desc>",
      Description(history, frame), "</desc>\n", kStyle, "<rect class=\"ground\" width=\"",
      Number(Frame::kWidth), "\" height=\"", Number(Frame::kHeight), "\"/>\n",
      // The limit and what it cuts stay within the frame; a stroke's width more, for peaks.
      "<clipPath id=\"ebb-frame\"><rect x=\"", Number(Frame::kLeft), "\" y=\"",
      Number(Frame::kTop - 1), "\" width=\"", Number(Frame::kRight - Frame::kLeft + 1),
      "\" height=\"", Number(Frame::kBottom - Frame::kTop + 2), "\"/></clipPath>\n",
      Text(Frame::kLeft, 24, "class=\"title\"", safe_title));
  if (!history.model.empty()) {
    absl::StrAppend(&out, Text(Frame::kRight, 24, "class=\"quiet model\" text-anchor=\"end\"",
                               EscapeXml(history.model, 40)));
  }
  absl::StrAppend(&out, Legend(series, frame), Grid(frame), "<g clip-path=\"url(#ebb-frame)\">\n");
  absl::StrAppend(
      &out, "<path class=\"held-area\" d=\"", CurvePath(series, frame, Curve::kHeld, true),
      "\"/>\n<path class=\"held\" d=\"", CurvePath(series, frame, Curve::kHeld, false),
      "\"/>\n<path class=\"needed\" d=\"", CurvePath(series, frame, Curve::kNeeded, false),
      "\"/>\n<path class=\"limit\" d=\"", CurvePath(series, frame, Curve::kLimit, false),
      "\"/>\n</g>\n");
  const std::string since = absl::FormatTime(
      "%Y-%m-%d %H:%M:%S UTC", absl::FromUnixMillis(history.first_time_ms), absl::UTCTimeZone());
  absl::StrAppend(&out, Marks(series, frame),
                  Text((Frame::kLeft + Frame::kRight) / 2, Frame::kHeight - 8,
                       "class=\"quiet x-unit\" text-anchor=\"middle\"",
                       absl::StrCat(TimeAxis(frame.seconds).unit, " since ", since)),
                  "</svg>\n");
  return out;
}

}  // namespace ebb::cli
