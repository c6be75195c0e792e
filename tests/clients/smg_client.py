#!/usr/bin/env python3
"""The smg gateway, as PyPI has it, in front of real servers; it listens on free ports."""

import contextlib
import json
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

import grpc
import openai
from smg_grpc_proto.generated import common_pb2, vllm_engine_pb2, vllm_engine_pb2_grpc

import ebb_server

CHAT = [{"role": "user", "content": "Name three colours."}]
PROMPT = "The capital of France is"


class Address:
    """One of our servers, called directly."""

    def __init__(self, address, ebb, ebb_grpc):
        self.address = address
        channel = grpc.insecure_channel(address)
        self.ebb = ebb
        self.inference = ebb_grpc.InferenceStub(channel)
        self.control = ebb_grpc.ControlStub(channel)
        # The contract by its owner's own stubs: field numbers are checked against theirs.
        self.vllm = vllm_engine_pb2_grpc.VllmEngineStub(channel)

    def load(self):
        return self.vllm.GetLoads(vllm_engine_pb2.GetLoadsRequest(include=["core"])).loads[0]

    def becomes_idle(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.load().num_total_reqs == 0:
                return True
            time.sleep(0.02)
        return False


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@contextlib.contextmanager
def gateway(addresses, *options):
    """An OpenAI client of a gateway in front of these servers."""
    port = free_port()
    with tempfile.NamedTemporaryFile("w+", suffix=".smg.log") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "smg", "launch", "--host", "127.0.0.1", "--port", str(port),
             "--prometheus-port", str(free_port()), "--health-check-interval-secs", "2",
             "--worker-urls", *["grpc://" + address for address in addresses], *options],
            stdout=log, stderr=subprocess.STDOUT)
        try:
            wait_ready(process, port, len(addresses))
            yield openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="none",
                                max_retries=0, timeout=120)
        except BaseException:
            log.seek(0)
            sys.stderr.write(log.read()[-8000:])
            raise
        finally:
            process.terminate()
            process.wait(30)


def wait_ready(process, port, count):
    end = time.monotonic() + 60
    while time.monotonic() < end:
        assert process.poll() is None, "the gateway ended"
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readiness", timeout=5) as answer:
                if json.load(answer).get("healthy_workers") == count:
                    return
        except OSError:
            pass
        time.sleep(0.1)
    raise AssertionError("the gateway was not ready within a minute")


def speaks_the_contract(server):
    model = server.vllm.GetModelInfo(vllm_engine_pb2.GetModelInfoRequest())
    assert model.is_generation and model.max_context_length > 0 and model.eos_token_ids, model
    ids = list(server.inference.Tokenize(server.ebb.TokenizeRequest(text=PROMPT)).token_ids)
    request = vllm_engine_pb2.GenerateRequest(
        request_id="contract", tokenized=vllm_engine_pb2.TokenizedInput(input_ids=ids),
        sampling_params=vllm_engine_pb2.SamplingParams(
            temperature=0, max_tokens=8, ignore_eos=True, logprobs=2, prompt_logprobs=1))
    (whole,) = server.vllm.Generate(request)
    assert len(whole.complete.output_ids) == 8 and whole.complete.finish_reason == "length", whole
    assert whole.complete.prompt_tokens == len(ids) and whole.complete.completion_tokens == 8
    logprobs = whole.complete.output_logprobs
    assert list(logprobs.token_ids) == list(whole.complete.output_ids)
    # Greedy: each is the most likely one.
    for chosen, top in zip(logprobs.token_logprobs, logprobs.top_logprobs, strict=True):
        assert len(top.values) == 2 and chosen == top.values[0] >= top.values[1], logprobs
    assert list(whole.complete.input_logprobs.token_ids) == ids
    assert [t.HasField("value") for t in whole.complete.input_logprobs.token_logprobs] == (
        [False] + [True] * (len(ids) - 1))
    request.stream = True
    *chunks, last = server.vllm.Generate(request)
    assert [i for c in chunks for i in c.chunk.token_ids] == list(whole.complete.output_ids)
    assert chunks[-1].chunk.completion_tokens == 8 and last.complete.finish_reason == "length"


def aborts_by_id(server):
    request = vllm_engine_pb2.GenerateRequest(
        request_id="to-abort", text="Once", stream=True,
        sampling_params=vllm_engine_pb2.SamplingParams(max_tokens=1000, ignore_eos=True))
    call = server.vllm.Generate(request)
    next(call)
    server.vllm.Abort(vllm_engine_pb2.AbortRequest(request_ids=["to-abort"]))
    *_, last = call
    assert last.complete.finish_reason == "abort", last
    assert server.becomes_idle(1), server.load()


def gives_its_tokenizer(server):
    chunks = list(server.vllm.GetTokenizer(common_pb2.GetTokenizerRequest()))
    assert all(not c.sha256 for c in chunks[:-1]) and len(chunks[-1].sha256) == 64


def chats_as_the_server_itself(server, client, model):
    ask = dict(model=model, messages=CHAT, temperature=0, max_tokens=24)
    whole = client.chat.completions.create(**ask)
    own = server.inference.Generate(server.ebb.GenerateRequest(
        chat=server.ebb.Chat(messages=[server.ebb.ChatMessage(**m) for m in CHAT]),
        sampling=server.ebb.Sampling(temperature=0),
        stopping=server.ebb.Stopping(max_tokens=24)))
    # Its template, its tokenizer, its tokens.
    assert whole.usage.prompt_tokens == own.finished.usage.prompt_tokens, (whole.usage, own)
    assert whole.choices[0].message.content == own.text, (whole, own)
    assert whole.usage.completion_tokens == own.finished.usage.completion_tokens, (whole, own)
    chunks = list(client.chat.completions.create(
        **ask, stream=True, stream_options={"include_usage": True}))
    streamed = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert streamed == own.text, (streamed, own.text)
    usage = [c.usage for c in chunks if c.usage][-1]
    assert (usage.prompt_tokens, usage.completion_tokens) == (
        whole.usage.prompt_tokens, whole.usage.completion_tokens), (usage, whole.usage)


def completes_as_the_server_itself(server, client, model):
    ask = dict(model=model, prompt=PROMPT, temperature=0, max_tokens=12)
    whole = client.completions.create(**ask)
    own = server.inference.Generate(server.ebb.GenerateRequest(
        text=PROMPT, sampling=server.ebb.Sampling(temperature=0),
        stopping=server.ebb.Stopping(max_tokens=12)))
    assert whole.choices[0].text == own.text, (whole, own)
    assert whole.choices[0].finish_reason == "length", whole
    streamed = "".join(c.choices[0].text for c in client.completions.create(**ask, stream=True)
                       if c.choices)
    assert streamed == own.text, (streamed, own.text)


def stops_at_strings(_, client, model):
    ask = dict(model=model, prompt="One, two, three, four,", temperature=0, max_tokens=200)
    text = client.completions.create(**ask | {"max_tokens": 12}).choices[0].text
    stop = text.split()[1][:3]
    stopped = client.completions.create(**ask, stop=[stop])
    assert stopped.choices[0].text == text[:text.index(stop)], (stopped, text)
    assert stopped.choices[0].finish_reason == "stop", stopped
    # The server saw it by itself: it did not go on to 200.
    assert stopped.usage.completion_tokens <= 12, stopped.usage
    streamed = "".join(c.choices[0].text for c in client.completions.create(
        **ask, stop=[stop], stream=True) if c.choices)
    assert streamed == stopped.choices[0].text, streamed


def repeats_a_seed(_, client, model):
    def text(seed):
        return client.chat.completions.create(
            model=model, messages=CHAT, temperature=1, seed=seed,
            max_tokens=24).choices[0].message.content
    assert text(7) == text(7)
    assert len({text(seed) for seed in (7, 8, 9)}) > 1


def answers_several_times(_, client, model):
    ask = dict(model=model, messages=CHAT, temperature=1, seed=7, max_tokens=12, n=3)
    whole = client.chat.completions.create(**ask)
    texts = {choice.index: choice.message.content for choice in whole.choices}
    assert sorted(texts) == [0, 1, 2] and len(set(texts.values())) > 1, whole
    streamed = {0: "", 1: "", 2: ""}
    for chunk in client.chat.completions.create(**ask, stream=True):
        for choice in chunk.choices:
            streamed[choice.index] += choice.delta.content or ""
    assert streamed == texts, (streamed, texts)


def refuses_what_cannot_be(_, client, model):
    def status(**ask):
        try:
            client.chat.completions.create(**dict(model=model, messages=CHAT, max_tokens=4) | ask)
        except openai.APIStatusError as error:
            return error.status_code
        return 200
    assert status(messages=[{"role": "user", "content": "many words " * 20000}]) == 400
    assert status(extra_body={"regex": "a+"}) == 501


def a_client_that_leaves_frees_its_request(server, client, model):
    stream = client.chat.completions.create(model=model, messages=CHAT, max_tokens=1500,
                                            stream=True, extra_body={"ignore_eos": True})
    next(iter(stream))
    assert server.load().num_total_reqs == 1
    stream.close()
    assert server.becomes_idle(1), server.load()


def a_full_queue_is_429(server, client, model):
    fillers = []
    refused = 0
    try:
        # Waiting requests may still become running ones and leave room: only refusals in a row count.
        while refused < 5:
            call = server.inference.GenerateStream(server.ebb.GenerateRequest(
                text="Once", stopping=server.ebb.Stopping(max_tokens=1500, ignore_eos=True)))
            fillers.append(call)
            try:
                next(call)  # Accepted.
                refused = 0
            except grpc.RpcError as error:
                assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED, error
                refused += 1
                time.sleep(0.2)
            assert len(fillers) < 5000, "the queue has no end"
        try:
            client.completions.create(model=model, prompt="a", max_tokens=1)
            raise AssertionError("answered, although the queue was full")
        except openai.RateLimitError as error:
            assert error.status_code == 429
    finally:
        for call in fillers:
            call.cancel()
    assert server.becomes_idle(10), server.load()
    assert client.completions.create(model=model, prompt="a", max_tokens=1).choices


def two_servers_share_the_work(servers, client, model):
    before = [s.control.GetServerInfo(s.ebb.GetServerInfoRequest()).finished_total
              for s in servers]
    for _ in range(6):
        client.completions.create(model=model, prompt=PROMPT, max_tokens=2)
    after = [s.control.GetServerInfo(s.ebb.GetServerInfoRequest()).finished_total for s in servers]
    assert all(b > a for a, b in zip(before, after)), (before, after)


def requests_go_on_when_one_drains(servers, client, model):
    running = client.completions.create(model=model, prompt="Once", max_tokens=40, stream=True,
                                        extra_body={"ignore_eos": True})
    next(iter(running))
    servers[1].control.Drain(servers[1].ebb.DrainRequest(grace_ms=60000))
    for _ in range(12):
        answer = client.completions.create(model=model, prompt=PROMPT, max_tokens=2)
        assert answer.usage.completion_tokens > 0, answer
    # What ran, ran to its end, on whichever server.
    assert [c.choices[0].finish_reason for c in running if c.choices][-1] == "length"


def requests_go_on_when_one_is_killed(server, client, model):
    for i in range(12):
        if i == 4:
            server.process.kill()
            server.process.wait()
        answer = client.completions.create(model=model, prompt=PROMPT, max_tokens=2)
        assert answer.usage.completion_tokens > 0


def one_server(first, model):
    ebb_server.run_checks([speaks_the_contract, aborts_by_id, gives_its_tokenizer], first)
    with gateway([first.address], "--disable-retries") as client:
        assert [m.id for m in client.models.list().data] == [model]
        ebb_server.run_checks([
            chats_as_the_server_itself, completes_as_the_server_itself, stops_at_strings,
            repeats_a_seed, answers_several_times, refuses_what_cannot_be,
            a_client_that_leaves_frees_its_request, a_full_queue_is_429], first, client, model)


def main():
    options = ebb_server.arguments(__doc__)
    with tempfile.TemporaryDirectory() as folder:
        stubs = ebb_server.stubs("ebb", folder)
    # A queue that is soon full.
    settings = ["scheduler.queue_requests_max=8", "scheduler.running_sequences_max=4"]
    with ebb_server.Server(options, *settings) as one:
        first = Address(one.grpc, *stubs)
        model = first.vllm.GetModelInfo(vllm_engine_pb2.GetModelInfoRequest()).served_model_name
        one_server(first, model)
        with ebb_server.Server(options) as two:
            with gateway([one.grpc, two.grpc], "--policy", "round_robin") as client:
                ebb_server.run_checks(
                    [two_servers_share_the_work, requests_go_on_when_one_drains],
                    [first, Address(two.grpc, *stubs)], client, model)
        with ebb_server.Server(options) as three:
            with gateway([one.grpc, three.grpc], "--policy", "round_robin") as client:
                ebb_server.run_checks([requests_go_on_when_one_is_killed], three, client, model)


if __name__ == "__main__":
    main()
