#!/bin/sh
# driver_probe_test.sh PROBE LIBRARY: the probe runs through on the fake, tells each call in its
# table and its JSON, and ends with status 1 when an edit beside work ends the device.
set -eu
json="$TEST_TMPDIR/figures.jsonl"
"$1" --library "$2" --smoke --json "$json" >"$TEST_TMPDIR/table"
cat "$TEST_TMPDIR/table"
python3 - "$json" <<'TEXT'
import json, sys
lines = [json.loads(line) for line in open(sys.argv[1])]
calls = {line["call"] for line in lines if line["name"] == "driver call"}
wanted = {"create", "map", "set_access", "set_access of all", "unmap", "release", "memory_info",
          "wait, sleeping", "wait, polling"}
assert calls == wanted, calls
soaks = [line for line in lines if line["name"] == "edits beside kernels"]
assert [soak["with_create"] for soak in soaks] == [False, True], soaks
for soak in soaks:
    assert soak["ok"] and soak["rounds"] >= 2 and soak["pages_checked"] >= 2, soak
assert soaks[0]["cycles"] == 200, soaks
TEXT
status=0
EBB_FAKE_CUDA_LOSE_AT_LAUNCH=20 "$1" --library "$2" --smoke --only soak --cycles 150 \
  >"$TEST_TMPDIR/lost" || status=$?
cat "$TEST_TMPDIR/lost"
[ "$status" -eq 1 ]
grep -q "NOT SAFE" "$TEST_TMPDIR/lost"
grep -q "ended by: UNAVAILABLE" "$TEST_TMPDIR/lost"
