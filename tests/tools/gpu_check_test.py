"""gpu_check's arguments, budgets, counting and table, over programs that pretend."""
import contextlib
import io
import json
import pathlib
import sys
import tempfile
import unittest
import unittest.mock

ROOT = pathlib.Path(__file__).absolute().parent.parent.parent
sys.path.insert(0, str(ROOT / "tools" / "gpu"))

import check  # noqa: E402
import runner  # noqa: E402
import table  # noqa: E402

GTEST = """#!/usr/bin/env python3
import json, os, signal, sys, time
report = sys.argv[1].split("json:")[1]
cases = {cases!r}
suite = []
for name, kind in cases:
    print("[ RUN      ] Suite." + name, flush=True)
    if kind == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if kind == "hang":
        time.sleep(3600)
    case = {{"name": name, "status": "RUN", "result": "COMPLETED"}}
    if kind == "fail":
        case["failures"] = [{{"failure": "1 is not 2"}}]
    if kind == "skip":
        print("file.cc:7: Skipped\\nno such device\\n")
        print("[  SKIPPED ] Suite." + name)
        case["result"] = "SKIPPED"
    suite.append(case)
json.dump({{"testsuites": [{{"name": "Suite", "testsuite": suite}}]}}, open(report, "w"))
sys.exit(1 if any(kind == "fail" for _, kind in cases) else 0)
"""


class GpuCheckTest(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.pack = pathlib.Path(directory.name) / "pack"
        self.output = pathlib.Path(directory.name) / "output"
        (self.pack / "bin").mkdir(parents=True)
        (self.pack / "lib").mkdir()
        (self.pack / "lib" / "libebb_cuda.so").touch()
        self.programs = {}

    def add(self, name, section, text):
        path = self.pack / "bin" / name
        path.write_text(text, encoding="utf-8")
        path.chmod(0o755)
        self.programs[name] = section

    def add_gtest(self, name, section, **cases):
        self.add(name, section, GTEST.format(cases=list(cases.items())))

    def context(self, fake):
        return runner.Context(self.pack, self.pack / "lib" / "libebb_cuda.so", self.pack, fake)

    def run_check(self, *arguments):
        """(status, what it printed, summary by section)"""
        manifest = {"revision": "abc", "programs": self.programs, "files": {}}
        (self.pack / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            status = check.main(["--pack", str(self.pack), "--output", str(self.output), *arguments])
        summary = json.loads((self.output / "summary.json").read_text(encoding="utf-8"))
        return status, printed.getvalue(), summary

    def test_counts_every_test_of_every_program(self):
        self.add_gtest("a_test", "kernels", One="pass", Two="pass")
        self.add_gtest("b_test", "kernels", Three="skip", Four="pass")
        self.add_gtest("c_test", "pool", Five="pass")
        status, printed, summary = self.run_check("--only", "kernels,pool")
        self.assertEqual(status, 0, printed)
        counts = [summary["kernels"][key] for key in ("passed", "failed", "skipped")]
        self.assertEqual(counts, [3, 0, 1])
        self.assertEqual(summary["pool"]["passed"], 1)
        self.assertIn("kernels: skipped: Suite.Three: no such device", printed)
        self.assertRegex(printed.splitlines()[-2], r"^kernels +passed +3 +0 +1 ")

    def test_fails_when_any_test_fails_and_tells_which(self):
        self.add_gtest("a_test", "kernels", One="pass", Two="fail")
        self.add_gtest("c_test", "pool", Five="pass")
        status, printed, _ = self.run_check("--only", "kernels,pool")
        self.assertEqual(status, 1)
        self.assertIn("kernels: failed: Suite.Two: 1 is not 2", printed)
        self.assertRegex(printed, r"(?m)^kernels +FAILED +1 +1 +0 ")

    def test_a_crash_is_a_failure_and_names_the_test(self):
        self.add_gtest("a_test", "kernels", One="pass", Two="crash")
        self.add_gtest("b_test", "kernels", Three="pass")
        status, printed, summary = self.run_check("--only", "kernels")
        self.assertEqual(status, 1)
        self.assertIn("a_test ended with status -11 in Suite.Two", printed)
        self.assertEqual(summary["kernels"]["passed"], 1, "the program after it ran")

    def test_a_hang_is_ended_and_what_follows_is_skipped_with_its_reason(self):
        self.add_gtest("a_test", "kernels", One="hang")
        self.add_gtest("b_test", "kernels", Two="pass")
        with unittest.mock.patch.object(runner, "SECONDS_MIN", 0.3):
            status, printed, _ = self.run_check("--only", "kernels", "--minutes", "0.02")
        self.assertEqual(status, 1)
        self.assertIn("a_test ran past its time in Suite.One", printed)
        self.assertIn("skipped: b_test: no time left", printed)

    def test_a_program_that_runs_no_test_fails(self):
        self.add_gtest("a_test", "kernels")
        status, printed, _ = self.run_check("--only", "kernels")
        self.assertEqual(status, 1)
        self.assertIn("a_test ran no test", printed)

    def test_nothing_passed_is_no_success(self):
        status, printed, summary = self.run_check("--only", "kernels,probe")
        self.assertEqual(status, 1)
        self.assertEqual(summary["probe"]["skipped"], 1)
        self.assertIn("probe: skipped: the pack holds no driver_probe", printed)

    def test_the_probe_and_the_benches_pass_by_their_status(self):
        self.add("driver_probe", "probe", "#!/bin/sh\necho cannot map; exit 3\n")
        self.add("model_bench", "bench", '#!/bin/sh\necho "$@"\n')
        status, printed, summary = self.run_check("--only", "probe,bench")
        self.assertEqual(status, 1)
        self.assertIn("driver_probe_soak ended with status 3: cannot map", printed)
        self.assertEqual(summary["bench"]["passed"], 2)  # Without and with what Hopper alone has.
        log = (self.output / "model_bench_hopper.log").read_text(encoding="utf-8")
        self.assertIn("--hopper", log.splitlines()[1])

    def test_programs_get_the_library_and_the_packs_own_libraries(self):
        script = '#!/bin/sh\necho "$EBB_CUDA_LIBRARY $LD_LIBRARY_PATH"\n'
        self.add("driver_probe", "probe", script)
        self.run_check("--only", "probe")
        log = (self.output / "driver_probe_soak.log").read_text(encoding="utf-8")
        self.assertIn(f"{self.pack.resolve()}/lib/libebb_cuda.so {self.pack.resolve()}/lib:", log)

    def test_without_a_device_the_rest_is_skipped(self):
        self.add_gtest("a_test", "kernels", One="pass")
        status, printed, summary = self.run_check("--only", "find,kernels")  # An empty library.
        self.assertEqual(status, 1)
        self.assertEqual(summary["find"]["failed"], 1)
        self.assertIn("kernels: skipped: there is no device to check it on", printed)

    def test_refuses_wrong_arguments(self):
        wrong = (["--only", "kernles"], ["--minutes", "0"], ["--library", "/nowhere.so"],
                 ["--pack", "/nowhere"], ["--minutes", "x"])
        for arguments in wrong:
            with self.subTest(arguments), contextlib.redirect_stderr(io.StringIO()) as said:
                with self.assertRaises(SystemExit) as end:
                    self.run_check(*arguments)
                self.assertEqual(end.exception.code, 2)
                self.assertIn(arguments[0].strip("-"), said.getvalue())

    def test_lines_of_cases_are_counted(self):
        context = self.context(fake=True)
        script = "print('ok a'); print('FAIL b: 2 != 3'); print('skip c: no time left'); exit(1)"
        outcome = runner.lines(context, "script", [sys.executable, "-c", script], runner.Budget(60))
        self.assertEqual((outcome.passed, outcome.failed, outcome.skipped), (1, 1, 1))
        self.assertEqual(outcome.notes, ["failed: b: 2 != 3", "skipped: c: no time left"])
        silent = runner.lines(context, "silent", [sys.executable, "-c", ""], runner.Budget(60))
        self.assertEqual(silent.failed, 1)

    def test_a_sanitizer_that_cannot_use_the_device_is_skipped(self):
        tool = self.pack / "compute-sanitizer"
        context = self.context(fake=False)
        for text, status, counts in (
                ("Error: Device not supported", 255, (0, 0, 1)),
                ("ERROR SUMMARY: 3 errors", 86, (0, 1, 0)),
                ("ERROR SUMMARY: 0 errors", 0, (1, 0, 0))):
            tool.write_text(f"#!/bin/sh\necho '{text}'\nexit {status}\n", encoding="utf-8")
            tool.chmod(0o755)
            outcome = runner.sanitizer(context, tool, "memcheck", "a_test", ["a_test"],
                                       runner.Budget(60))
            self.assertEqual((outcome.passed, outcome.failed, outcome.skipped), counts, text)


class TableTest(unittest.TestCase):
    def test_long_lists_of_notes_are_cut_short(self):
        outcome = table.Outcome()
        for number in range(9):
            outcome.fail(f"case {number}")
        text = table.render({"kernels": outcome}, notes_max=2)
        self.assertIn("kernels: failed: case 1\nkernels: and 7 more, see its log\n", text)

    def test_status(self):
        passed, failed = table.Outcome(passed=3, skipped=2), table.Outcome(passed=3, failed=1)
        self.assertEqual(table.status({"a": passed}), 0)
        self.assertEqual(table.status({"a": passed, "b": failed}), 1)
        self.assertEqual(table.status({"a": table.Outcome(skipped=1)}), 1)


if __name__ == "__main__":
    unittest.main()
