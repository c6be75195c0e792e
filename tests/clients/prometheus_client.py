#!/usr/bin/env python3
"""A real Prometheus scrapes a real server: metrics, dashboard and alerts.

Every metric of docs/metrics.md must be in it, every query of docker/grafana/*.json and every alert of
docker/prometheus must be evaluated without an error, and what must have a value must have one. Ends
with 77 where there is no `prometheus`; `./test --clients` fetches Debian's.
"""
import contextlib
import json
import math
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request

import yaml

import ebb_server

ROOT = ebb_server.ROOT
SECONDS_MAX = 60
SKIPPED = 77
# What there is only in servers that share memory, or that refused, moved or lacked something.
MAY_BE_EMPTY = {"ebb_memory_share_bytes"}


def get(url):
    with urllib.request.urlopen(url, timeout=30) as answer:
        return answer.read().decode()


def post(url, body):
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def wait_for(what, condition):
    end = time.monotonic() + SECONDS_MAX
    while time.monotonic() < end:
        with contextlib.suppress(OSError):
            if condition():
                return
        time.sleep(0.1)  # Only between two looks.
    raise SystemExit(f"not within {SECONDS_MAX} s: {what}")


class Prometheus:
    """docker/prometheus, with this server in its place and without its pauses."""

    def __init__(self, target):
        self._directory = tempfile.TemporaryDirectory()
        folder = pathlib.Path(self._directory.name)
        config = yaml.safe_load((ROOT / "docker/prometheus/prometheus.yml").read_text())
        config["global"] = {"scrape_interval": "500ms", "evaluation_interval": "1s"}
        config["rule_files"] = [str(ROOT / "docker/prometheus" / pathlib.Path(path).name)
                                for path in config["rule_files"]]
        config["scrape_configs"][0]["static_configs"][0]["targets"] = [target]
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{free.getsockname()[1]}"
        self.url = f"http://{address}/api/v1"
        with open(folder / "log", "wb") as log:
            self._process = subprocess.Popen(
                ["prometheus", f"--config.file={folder / 'prometheus.yml'}",
                 f"--storage.tsdb.path={folder / 'data'}", f"--web.listen-address={address}"],
                stdout=log, stderr=subprocess.STDOUT)
        self._log = folder / "log"

    def ask(self, path, **parameters):
        answer = json.loads(get(f"{self.url}/{path}?{urllib.parse.urlencode(parameters)}"))
        assert answer["status"] == "success", answer
        return answer["data"]

    def query(self, expression):
        return self.ask("query", query=expression)["result"]

    def __enter__(self):
        return self

    def __exit__(self, failure, *_):
        self._process.terminate()
        self._process.wait()
        if failure:
            print("the end of Prometheus' log:", self._log.read_text()[-2000:], file=sys.stderr)
        self._directory.cleanup()


def make_traffic(server):
    """Requests of all kinds, streamed and whole, good and refused."""
    base = f"http://{server.http}"
    for i in range(3):
        body = {"prompt": "Once upon a time", "max_tokens": 16, "stream": i % 2 == 1}
        assert post(base + "/v1/completions", body)[0] == 200
    assert post(base + "/v1/completions", {"prompt": "a", "max_tokens": 0})[0] == 400
    assert post(base + "/v1/completions", {"prompt": "a", "model": "other"})[0] == 404
    status, _ = post(base + "/v1/completions", {"prompt": "word " * 20_000})
    assert status == 400


def listed_metrics():
    """Names and types by the table of docs/metrics.md."""
    text = (ROOT / "docs/metrics.md").read_text()
    table = text[text.index("## The list"):text.index("## vLLM")]
    return dict(re.findall(r"^\| `((?:ebb|process)_\w+)` \| (\w+) \|", table, re.M))


def check_metrics(prometheus):
    listed = listed_metrics()
    assert len(listed) > 30, listed
    told = {name: {entry["type"] for entry in entries}
            for name, entries in prometheus.ask("metadata").items()}
    for name, kind in listed.items():
        if name in MAY_BE_EMPTY:
            continue
        assert told.get(name) == {kind}, (name, kind, told.get(name))
        series = f"{name}_count" if kind == "histogram" else name
        assert prometheus.query(series), f"{series} has no value"
    unlisted = {name for name in told if name.startswith(("ebb_", "vllm:"))} - set(listed)
    assert not unlisted, f"not in docs/metrics.md: {unlisted}"
    print(len(listed), "metrics are as docs/metrics.md lists them")


def check_dashboards(prometheus):
    count = 0
    named = set()
    for path in sorted((ROOT / "docker/grafana").glob("*.json")):
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel.get("targets", []):
                expression = (target["expr"].replace("$__rate_interval", "30s")
                              .replace("$instance", ".*"))
                result = prometheus.query(expression)
                count += 1
                names = set(re.findall(r"\b(?:ebb|process)_\w+", expression))
                named |= names
                if names & MAY_BE_EMPTY:
                    continue
                assert result, f"{panel['title']}: no value: {expression}"
                numbers = [float(one["value"][1]) for one in result]
                assert not any(math.isnan(n) for n in numbers), f"{panel['title']}: {expression}: {result}"
    assert count > 40, count
    known = {re.sub("_(bucket|sum|count)$", "", name) for name in named}
    assert not set(listed_metrics()) - known, set(listed_metrics()) - known
    print(count, "queries of dashboards have values")


def check_alerts(prometheus):
    wait_for("alerts evaluated", lambda: all(
        rule["health"] != "unknown" for group in prometheus.ask("rules")["groups"] for rule in group["rules"]))
    rules = [rule for group in prometheus.ask("rules")["groups"] for rule in group["rules"]]
    assert len(rules) >= 8, rules
    for rule in rules:
        assert rule["health"] == "ok" and not rule.get("lastError"), rule
        assert rule["state"] == "inactive", f"{rule['name']} fires at a server that is well: {rule}"
        # What it compares is there: without the comparison it has a value.
        bare = re.split(r" (?:==|>) ", rule["query"])[0]
        if "outcome" not in bare and "code=" not in bare:
            assert prometheus.query(bare), f"{rule['name']}: no value: {bare}"
    print(len(rules), "alerts are evaluated")


def check_that_the_engine_does_not_notice(server):
    """A hundred scrapes a second and more, beside a stream whose text is known."""
    ask = {"prompt": "The history of the lighthouse", "max_tokens": 48, "temperature": 0}
    url = f"http://{server.http}/v1/completions"
    alone = json.loads(post(url, ask)[1])["choices"][0]["text"]
    scraper = subprocess.Popen(
        [sys.executable, "-c", "import sys, urllib.request\nwhile True: urllib.request.urlopen(sys.argv[1]).read()",
         f"http://{server.http}/metrics"])
    try:
        for _ in range(3):
            assert json.loads(post(url, ask)[1])["choices"][0]["text"] == alone
        assert scraper.poll() is None, "a scrape failed"
    finally:
        scraper.kill()
        scraper.wait()
    print("a flood of scrapes changes no token")


def check_the_alert_of_a_server_that_is_gone(prometheus):
    wait_for("up is 0", lambda: prometheus.query('up{job="ebb"} == 0'))
    wait_for("EbbDown is pending", lambda: any(
        alert["labels"]["alertname"] == "EbbDown" for alert in prometheus.ask("alerts")["alerts"]))
    print("a server that is gone is noticed")


def main():
    if not shutil.which("prometheus"):
        print("skipped: there is no prometheus in PATH")
        sys.exit(SKIPPED)
    options = ebb_server.arguments(__doc__)
    with ebb_server.Server(options) as server, Prometheus(server.http) as prometheus:
        wait_for("the first scrape", lambda: prometheus.query('up{job="ebb"} == 1'))
        make_traffic(server)
        time_of_traffic = time.time()
        wait_for("scrapes after the traffic", lambda: any(
            float(one["value"][1]) >= 3 for one in prometheus.query(
                f'count_over_time(ebb_requests_running[{int(time.time() - time_of_traffic) + 1}s])')))
        make_traffic(server)
        wait_for("rates", lambda: prometheus.query("rate(ebb_generation_tokens_total[30s]) > 0"))
        target, = prometheus.ask("targets")["activeTargets"]
        assert target["health"] == "up" and not target["lastError"], target
        check_metrics(prometheus)
        check_dashboards(prometheus)
        check_alerts(prometheus)
        check_that_the_engine_does_not_notice(server)
        assert server.end() == 0
        check_the_alert_of_a_server_that_is_gone(prometheus)


if __name__ == "__main__":
    main()
