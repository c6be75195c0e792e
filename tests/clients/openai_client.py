#!/usr/bin/env python3
"""OpenAI's own Python SDK against a real server."""

import openai

import ebb_server


def lists_the_model(client, model):
    models = client.models.list().data
    assert [m.id for m in models] == [model], models
    assert client.models.retrieve(model).owned_by == "ebb"


def chats_whole_and_streamed_alike(client, model):
    ask = dict(model=model, temperature=0, max_tokens=24,
               messages=[{"role": "user", "content": "Name three colours."}])
    whole = client.chat.completions.create(**ask)
    assert whole.object == "chat.completion" and whole.id.startswith("chatcmpl-"), whole
    text = whole.choices[0].message.content
    assert text and whole.choices[0].finish_reason in ("stop", "length"), whole
    assert whole.usage.total_tokens == whole.usage.prompt_tokens + whole.usage.completion_tokens
    chunks = list(client.chat.completions.create(
        **ask, stream=True, stream_options={"include_usage": True}))
    assert chunks[0].choices[0].delta.role == "assistant", chunks[0]
    streamed = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert streamed == text, (streamed, text)
    reasons = [c.choices[0].finish_reason for c in chunks if c.choices]
    assert reasons[-1] == whole.choices[0].finish_reason and not any(reasons[:-1]), reasons
    usage = chunks[-1].usage
    assert chunks[-1].choices == [], chunks[-1]
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (
        whole.usage.prompt_tokens, whole.usage.completion_tokens, whole.usage.total_tokens), chunks[-1]
    # The first asked computed the prompt, the second found it.
    assert whole.usage.prompt_tokens_details.cached_tokens == 0, whole
    assert 0 < usage.prompt_tokens_details.cached_tokens < usage.prompt_tokens, chunks[-1]


def completes_whole_and_streamed_alike(client, model):
    ask = dict(model=model, prompt="The capital of France is", temperature=0)
    whole = client.completions.create(**ask)
    assert whole.object == "text_completion" and whole.id.startswith("cmpl-"), whole
    assert whole.usage.completion_tokens <= 16  # The default.
    streamed = "".join(c.choices[0].text for c in client.completions.create(**ask, stream=True))
    assert streamed == whole.choices[0].text, (streamed, whole)


def answers_lists_of_prompts(client, model):
    prompts = ["One, two, three,", "Monday, Tuesday,"]
    ask = dict(model=model, temperature=0, max_tokens=6)
    both = client.completions.create(prompt=prompts, **ask)
    assert [c.index for c in both.choices] == [0, 1], both
    for prompt, choice in zip(prompts, both.choices):
        alone = client.completions.create(prompt=prompt, **ask)
        assert alone.choices[0].text == choice.text, (alone, choice)


def stops_at_strings(client, model):
    ask = dict(model=model, prompt="Count: 1, 2, 3, 4,", temperature=0, max_tokens=24)
    free = client.completions.create(**ask).choices[0].text
    stop = free[4:7]
    stopped = client.completions.create(**ask, stop=[stop])
    assert stopped.choices[0].text == free[:free.index(stop)], (free, stopped)
    assert stopped.choices[0].finish_reason == "stop"


def repeats_with_a_seed(client, model):
    ask = dict(model=model, prompt="Once upon a time", temperature=1, max_tokens=16)
    texts = {client.completions.create(**ask, seed=7).choices[0].text for _ in range(3)}
    assert len(texts) == 1, texts
    texts |= {client.completions.create(**ask, seed=seed).choices[0].text for seed in (8, 9)}
    assert len(texts) > 1, texts


def gives_logprobs(client, model):
    got = client.completions.create(model=model, prompt="The sky is", temperature=0, max_tokens=4,
                                    logprobs=2, echo=True).choices[0]
    assert got.text.startswith("The sky is"), got
    logprobs = got.logprobs
    assert "".join(logprobs.tokens) == got.text, logprobs
    assert logprobs.token_logprobs[0] is None and logprobs.top_logprobs[0] is None, logprobs
    for i, token in enumerate(logprobs.tokens):
        offset = logprobs.text_offset[i]
        assert got.text[offset:offset + len(token)] == token, (i, logprobs)
        if i > 0:
            assert logprobs.top_logprobs[i][token] == logprobs.token_logprobs[i], (i, logprobs)
    chat = client.chat.completions.create(model=model, temperature=0, max_tokens=4, logprobs=True,
                                          top_logprobs=3,
                                          messages=[{"role": "user", "content": "Hi"}]).choices[0]
    for entry in chat.logprobs.content:
        assert bytes(entry.bytes).decode("utf-8", "replace") == entry.token, entry
        assert len(entry.top_logprobs) == 3 and entry.top_logprobs[0].logprob == entry.logprob
    assert "".join(e.token for e in chat.logprobs.content).startswith(chat.message.content)


def refuses_with_the_sdks_errors(client, model):
    def refused(error, status, **fields):
        ask = dict(model=model, prompt="a", max_tokens=1)
        ask.update(fields)
        try:
            client.completions.create(**ask)
        except error as caught:
            assert caught.status_code == status and caught.message, caught
            return caught
        raise AssertionError(f"not refused: {fields}")

    assert refused(openai.BadRequestError, 400, temperature=-1).param == "temperature"
    assert refused(openai.BadRequestError, 400, prompt="").param == "prompt"
    assert refused(openai.NotFoundError, 404, model="another").code == "model_not_found"
    assert refused(openai.InternalServerError, 501, suffix="b").param == "suffix"


def tells_the_request_id(client, model):
    raw = client.completions.with_raw_response.create(
        model=model, prompt="a", max_tokens=1, extra_headers={"x-request-id": "sdk-check"})
    assert raw.headers["x-request-id"] == "sdk-check"
    assert raw.parse().id == "cmpl-sdk-check"


def a_stream_can_be_left(client, model):
    stream = client.completions.create(model=model, prompt="Once", max_tokens=1000, stream=True,
                                       extra_body={"ignore_eos": True})
    next(iter(stream))
    stream.close()
    assert client.completions.create(model=model, prompt="a", max_tokens=1).choices


def connect(server):
    client = openai.OpenAI(base_url=f"http://{server.http}/v1", api_key="none", max_retries=0,
                           timeout=120)
    return client, client.models.list().data[0].id


def main():
    options = ebb_server.arguments(__doc__)
    with ebb_server.Server(options) as server:
        ebb_server.run_checks([
            lists_the_model, chats_whole_and_streamed_alike, completes_whole_and_streamed_alike,
            answers_lists_of_prompts, stops_at_strings, repeats_with_a_seed, gives_logprobs,
            refuses_with_the_sdks_errors, tells_the_request_id, a_stream_can_be_left],
            *connect(server))


if __name__ == "__main__":
    main()
