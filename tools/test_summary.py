"""Counts test cases in a Bazel run and prints "N passed, N failed[, N skipped]" as its last line.

usage: test_summary.py BUILD_EVENT_JSON_FILE BAZEL_EXIT_STATUS

Cases come from each target's test.xml. A target that failed without a failed case in it (it
crashed, timed out or did not build) counts as one failure. Exits 1 when anything failed or
nothing ran.
"""
import json
import pathlib
import sys
import urllib.parse
import xml.etree.ElementTree


def count_cases(path):
    """(passed, failed, skipped) of one test.xml."""
    passed = failed = skipped = 0
    for case in xml.etree.ElementTree.parse(path).getroot().iter("testcase"):
        if case.find("failure") is not None or case.find("error") is not None:
            failed += 1
        elif case.find("skipped") is not None or case.get("status") == "notrun":
            skipped += 1
        else:
            passed += 1
    return passed, failed, skipped


def main():
    events_path, bazel_status = sys.argv[1], int(sys.argv[2])
    cases = {}  # (label, shard, run) -> counts of the last attempt
    failed_labels = set()
    skipped_labels = set()
    with open(events_path, encoding="utf-8") as events:
        for line in events:
            event = json.loads(line)
            identity = event["id"]
            if "testResult" in identity:
                key = identity["testResult"]
                for output in event["testResult"].get("testActionOutput", []):
                    if output["name"] != "test.xml":
                        continue
                    path = urllib.parse.unquote(urllib.parse.urlparse(output["uri"]).path)
                    if pathlib.Path(path).exists():
                        cases[key["label"], key.get("shard"), key.get("run")] = count_cases(path)
            elif "testSummary" in identity:
                if event["testSummary"]["overallStatus"] not in ("PASSED", "FLAKY"):
                    failed_labels.add(identity["testSummary"]["label"])
            elif "targetCompleted" in identity and "aborted" in event:
                label = identity["targetCompleted"]["label"]
                reason = event["aborted"].get("reason")
                (skipped_labels if reason == "SKIPPED" else failed_labels).add(label)
            elif "targetCompleted" in identity and not event.get("completed", {}).get("success"):
                failed_labels.add(identity["targetCompleted"]["label"])

    passed = sum(counts[0] for counts in cases.values())
    failed = sum(counts[1] for counts in cases.values())
    skipped = sum(counts[2] for counts in cases.values()) + len(skipped_labels)
    for label in sorted(failed_labels):
        print(f"failed: {label}")
        if not any(key[0] == label and counts[1] > 0 for key, counts in cases.items()):
            failed += 1
    if bazel_status != 0 and failed == 0:
        print(f"failed: bazel ended with status {bazel_status}")
        failed = 1
    print(f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
    return 0 if failed == 0 and passed > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
