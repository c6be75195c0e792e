#!/bin/sh
# smoke_test.sh BENCH LIBRARY: the bench runs through on the fake, and writes a JSON line for each
# row of its table and one for the ceilings.
set -eu
json="$TEST_TMPDIR/figures.jsonl"
"$1" --library "$2" --smoke --json "$json" >"$TEST_TMPDIR/table"
cat "$TEST_TMPDIR/table"
rows=$(grep -c '%$' "$TEST_TMPDIR/table")
lines=$(python3 -c 'import json, sys; print(len([json.loads(line) for line in sys.stdin]))' <"$json")
[ "$rows" -ge 5 ] && [ "$lines" -eq $((rows + 1)) ] || {
  echo "$rows rows in the table, $lines lines of JSON" >&2
  exit 1
}
