#include "cli/plot/page.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/check.h"
#include "cli/plot/axis.h"
#include "cli/plot/picture.h"
#include "cli/plot/xml.h"

namespace ebb::cli {
namespace {

constexpr absl::string_view kHead = R"(<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy"
  content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<style>
body { margin: 0; font: 15px/1.5 system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif;
  color: #24292f; background: #ffffff }
main { max-width: 1100px; margin: 0 auto; padding: 16px }
figure { margin: 0; position: relative }
figure svg { display: block; width: 100%; height: auto }
figure:focus-visible { outline: 2px solid #0072b2; outline-offset: 2px }
#values { min-height: 1.5em; margin: 4px 0 16px; color: #57606a;
  font-variant-numeric: tabular-nums }
table { border-collapse: collapse }
th, td { padding: 4px 24px 4px 0; border-bottom: 1px solid #d8dee4;
  text-align: left; vertical-align: top }
th { font-weight: normal; color: #57606a }
td { font-variant-numeric: tabular-nums }
#cursor { stroke: #57606a; stroke-dasharray: 2 2; visibility: hidden }
@media (prefers-color-scheme: dark) {
  body { color: #e6edf3; background: #0d1117 }
  #values, th { color: #9da7b3 }
  th, td { border-color: #2a313a }
  #cursor { stroke: #9da7b3 }
}
</style>
)";

// `data`: [first_ms, last_ms, held, least, greatest, needed, least, greatest, limit, pause] of each
// bucket; pause: 1 where no server ran before it.
constexpr absl::string_view kScript = R"script(
const figure = document.querySelector("figure");
const svg = figure.querySelector("svg");
const words = document.getElementById("values");
const hint = words.textContent;
const cursor = document.createElementNS("http://www.w3.org/2000/svg", "line");
cursor.id = "cursor";
cursor.setAttribute("y1", frame.top);
cursor.setAttribute("y2", frame.bottom);
svg.append(cursor);
let at = -1;
const xOf = (ms) => frame.left + ms / frame.ms * (frame.right - frame.left);
function bytes(count) {
  const units = ["bytes", "KiB", "MiB", "GiB", "TiB"];
  let i = 0;
  while (count >= 1024 && i + 1 < units.length) { count /= 1024; ++i; }
  return count.toFixed(i ? 1 : 0) + " " + units[i];
}
function range(last, least, greatest) {
  if (least === greatest) return bytes(last);
  return bytes(last) + " (" + bytes(least) + " to " + bytes(greatest) + ")";
}
function show(index, ms) {
  at = index;
  const d = data[index];
  const inside = ms <= d[1];
  const value = (i) => inside ? range(d[i], d[i + 1], d[i + 2]) : bytes(d[i]);
  const paused = !inside && index + 1 < data.length && data[index + 1][9];
  const values = paused ? "no server ran"
    : "held " + value(2) + ", needed " + value(5) + ", limit " + bytes(d[8]);
  words.textContent = (ms / 1000).toFixed(2) + " s: " + values;
  cursor.setAttribute("x1", xOf(ms));
  cursor.setAttribute("x2", xOf(ms));
  cursor.style.visibility = "visible";
}
function hide() {
  at = -1;
  words.textContent = hint;
  cursor.style.visibility = "hidden";
}
// The last bucket that has begun by then.
function find(ms) {
  let low = 0, high = data.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (data[middle][0] <= ms) low = middle; else high = middle - 1;
  }
  return low;
}
svg.addEventListener("pointermove", (event) => {
  const box = svg.getBoundingClientRect();
  const x = (event.clientX - box.left) / box.width * frame.width;
  if (x < frame.left - 1 || x > frame.right + 1) return hide();
  const share = (x - frame.left) / (frame.right - frame.left);
  const ms = Math.max(0, Math.min(1, share)) * frame.ms;
  show(find(ms), ms);
});
svg.addEventListener("pointerleave", hide);
figure.addEventListener("keydown", (event) => {
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (event.key === "Escape") hide();
  if (!step) return;
  event.preventDefault();
  const last = data.length - 1;
  const next = at < 0 ? (step > 0 ? 0 : last) : Math.max(0, Math.min(last, at + step));
  show(next, data[next][0]);
});
)script";

// Numbers only: nothing that the log says as text comes near the script.
std::string ScriptData(const MemorySeries& series) {
  using Frame = PictureFrame;
  const Frame frame = FrameOf(series);
  std::string out = absl::StrFormat(
      "const frame = {width: %g, left: %g, right: %g, top: %g, bottom: %g, ms: %.0f};\n"
      "const data = [\n",
      Frame::kWidth, Frame::kLeft, Frame::kRight, Frame::kTop, Frame::kBottom,
      frame.seconds * 1000);
  for (const Bucket& bucket : series.buckets()) {
    const Extent& held = bucket.of(Curve::kHeld);
    const Extent& needed = bucket.of(Curve::kNeeded);
    absl::StrAppend(&out, "[", bucket.first_ms - series.start_ms(), ",",
                    bucket.last_ms - series.start_ms(), ",", held.last, ",", held.min, ",",
                    held.max, ",");
    absl::StrAppend(&out, needed.last, ",", needed.min, ",", needed.max, ",",
                    bucket.of(Curve::kLimit).last, ",", bucket.pause_before ? 1 : 0, "],\n");
  }
  return absl::StrCat(out, "];");
}

std::string ByteSecondsText(double byte_seconds) {
  return absl::StrFormat("%.2f GiB s", byte_seconds / 0x1p30);
}

std::string LimitText(const MemorySeries& series) {
  int64_t least = series.buckets().front().of(Curve::kLimit).min;
  for (const Bucket& bucket : series.buckets()) {
    least = std::min(least, bucket.of(Curve::kLimit).min);
  }
  const int64_t greatest = series.Peak(Curve::kLimit);
  const std::string text = BytesText(static_cast<double>(greatest));
  if (least == greatest) return text;
  return absl::StrCat(BytesText(static_cast<double>(least)), " to ", text, ", changed ",
                      series.limit_changes(), series.limit_changes() == 1 ? " time" : " times");
}

}  // namespace

double HeldOverNeeded(const MemorySeries& series) {
  const double needed = series.ByteSeconds(Curve::kNeeded);
  return needed == 0 ? 0 : series.ByteSeconds(Curve::kHeld) / needed;
}

std::vector<std::pair<std::string, std::string>> MemoryFigures(const MemoryHistory& history) {
  const MemorySeries& series = history.series;
  const double ratio = HeldOverNeeded(series);
  std::vector<std::pair<std::string, std::string>> rows = {
      {"peak held", BytesText(static_cast<double>(series.Peak(Curve::kHeld)))},
      {"peak needed", BytesText(static_cast<double>(series.Peak(Curve::kNeeded)))},
      {"limit", LimitText(series)},
      {"held over needed, integrals over time",
       ratio == 0 ? std::string("nothing was needed")
                  : absl::StrFormat("%.2f (%s over %s)", ratio,
                                    ByteSecondsText(series.ByteSeconds(Curve::kHeld)),
                                    ByteSecondsText(series.ByteSeconds(Curve::kNeeded)))},
      {"preemptions", absl::StrCat(history.preemptions)},
      {"windows", absl::StrCat(history.windows)},
      {"requests finished", absl::StrCat(history.requests_finished)},
      {"time", SecondsText(static_cast<double>(series.end_ms() - series.start_ms()) / 1000)}};
  if (history.server_runs > 1) {
    rows.emplace_back("runs of a server", absl::StrCat(history.server_runs));
  }
  if (const int64_t skipped = history.lines_foreign + history.lines_too_long; skipped > 0) {
    rows.emplace_back("lines of the log passed over", absl::StrCat(skipped));
  }
  return rows;
}

std::string DrawPage(const MemoryHistory& history, const std::string& title) {
  CHECK_GT(history.series.samples(), 0);
  std::string out = absl::StrCat(
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n", kHead, "<title>", EscapeXml(title, 60),
      "</title>\n</head>\n<body>\n<main>\n<figure tabindex=\"0\">\n", DrawPicture(history, title),
      "</figure>\n<p id=\"values\" aria-live=\"polite\">Point at the "
      "picture, or use the arrow keys, to read values.</p>\n<table>\n");
  for (const auto& [name, figure] : MemoryFigures(history)) {
    absl::StrAppend(&out, "<tr><th scope=\"row\">", EscapeXml(name, 100), "</th><td>",
                    EscapeXml(figure, 100), "</td></tr>\n");
  }
  absl::StrAppend(&out, "</table>\n</main>\n<script>\n\"use strict\";\n",
                  ScriptData(history.series), kScript, "</script>\n</body>\n</html>\n");
  return out;
}

}  // namespace ebb::cli
