"""Draws KV memory held against KV memory needed over time, from a server's log, as an SVG.

usage: plot_memory.py SERVER_LOG -o FILE.svg [--title TEXT]

Reads the `window` lines: each carries held_bytes, needed_bytes and limit_bytes as they were when the
window was planned. held is what the pool had mapped or prepared; needed is live tokens times bytes
per token.
"""
import argparse
import datetime
import json
import math

WIDTH, HEIGHT = 860, 340
LEFT, RIGHT, TOP, BOTTOM = 64, 20, 44, 44
HELD, NEEDED, INK, GRID = "#7fb2d9", "#d1603d", "#333333", "#dddddd"


def read_points(path):
    """[(seconds, held, needed)] in the log's order, seconds from the first window."""
    points = []
    with open(path, encoding="utf-8") as log:
        for line in log:
            if '"event":"window"' not in line and '"event":"memory_idle"' not in line:
                continue
            entry = json.loads(line)
            when = datetime.datetime.fromisoformat(entry["time"].replace("Z", "+00:00")).timestamp()
            points.append((when, entry["held_bytes"], entry["needed_bytes"]))
    if not points:
        raise SystemExit(f"{path}: no window lines; is it a server's log?")
    start = points[0][0]
    return [(when - start, held, needed) for when, held, needed in points]


def nice_step(span, count):
    """A step of 1, 2 or 5 times a power of ten that cuts span into about count parts."""
    raw = span / count
    power = 10 ** math.floor(math.log10(raw))
    return next(m * power for m in (1, 2, 5, 10) if m * power >= raw)


def staircase(points, column, x, y):
    """Path data: each value holds until the next line of the log."""
    path = f"M{x(points[0][0]):.1f},{y(points[0][column]):.1f}"
    for point in points[1:]:
        path += f"H{x(point[0]):.1f}V{y(point[column]):.1f}"
    return path


def draw(points, title):
    mib = 1 << 20
    points = [(t, held / mib, needed / mib) for t, held, needed in points]
    seconds_max = max(points[-1][0], 1e-3)
    top = max(max(p[1], p[2]) for p in points) * 1.08 or 1

    def x(t):
        return LEFT + t / seconds_max * (WIDTH - LEFT - RIGHT)

    def y(v):
        return HEIGHT - BOTTOM - v / top * (HEIGHT - TOP - BOTTOM)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'font-family="sans-serif" font-size="12" fill="{INK}">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{LEFT}" y="22" font-size="14">{title}</text>',
    ]
    step = nice_step(top, 5)
    for i in range(int(top / step) + 1):
        parts.append(f'<path d="M{LEFT},{y(i * step):.1f}H{WIDTH - RIGHT}" stroke="{GRID}"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y(i * step) + 4:.1f}" text-anchor="end">{i * step:g}</text>')
    step = nice_step(seconds_max, 8)
    for i in range(int(seconds_max / step) + 1):
        parts.append(f'<text x="{x(i * step):.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{i * step:g}</text>')
    parts.append(f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 8}" text-anchor="end">seconds</text>')
    parts.append(f'<text x="{LEFT - 8}" y="{TOP - 10}" text-anchor="end">MiB</text>')
    floor = f"V{y(0):.1f}H{x(points[0][0]):.1f}Z"
    parts.append(f'<path d="{staircase(points, 1, x, y)}{floor}" fill="{HELD}" fill-opacity="0.45"/>')
    parts.append(f'<path d="{staircase(points, 1, x, y)}" fill="none" stroke="{HELD}" stroke-width="1.5"/>')
    parts.append(f'<path d="{staircase(points, 2, x, y)}" fill="none" stroke="{NEEDED}" stroke-width="1.5"/>')
    for i, (name, colour) in enumerate((("held", HELD), ("needed", NEEDED))):
        left = WIDTH - RIGHT - 150 + 80 * i
        parts.append(f'<rect x="{left}" y="12" width="12" height="12" fill="{colour}"/>')
        parts.append(f'<text x="{left + 17}" y="22">{name}</text>')
    parts.append("</svg>")
    return "\n".join(parts) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("log")
    parser.add_argument("-o", "--output", required=True)
    parser.add_argument("--title", default="KV memory held and needed")
    arguments = parser.parse_args()
    points = read_points(arguments.log)
    with open(arguments.output, "w", encoding="utf-8") as out:
        out.write(draw(points, arguments.title))
    held = sum((b[0] - a[0]) * a[1] for a, b in zip(points, points[1:]))
    needed = sum((b[0] - a[0]) * a[2] for a, b in zip(points, points[1:]))
    ratio = f"{held / needed:.2f}" if needed else "-"
    print(f"{arguments.output}: {len(points)} windows over {points[-1][0]:.1f} s, held/needed {ratio}")


if __name__ == "__main__":
    main()
