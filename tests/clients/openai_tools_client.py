#!/usr/bin/env python3
"""Calls of tools with OpenAI's own Python SDK, against a model that always makes the same ones."""

import json
import pathlib
import tempfile

import openai

import ebb_server
import openai_client
import parrot_model

# Calls, as long as there are tools and no answers of theirs.
TEMPLATE = """\
{%- if tools %}Call with <tool_call>JSON</tool_call>: {{ tools | tojson }}
{% endif %}
{%- for message in messages %}{{ message.role }}: {{ message.content }}
{%- for call in message.tool_calls %}<tool_call>{{ call.function | tojson }}</tool_call>{% endfor %}
{% endfor %}
{%- if tools and messages[-1].role == "user" %}<|call|>{% else %}<|say|>{% endif %}"""
CALLS = [("weather", {"city": "Oslo", "days": [1, 2]}), ("time", {})]
WORDS = "Let me look.\n"
SAID = "It rains in Oslo."
TEXTS = {
    "<|call|>": WORDS + "\n".join(
        "<tool_call>\n" + json.dumps({"name": name, "arguments": arguments}) + "\n</tool_call>"
        for name, arguments in CALLS),
    "<|say|>": SAID,
}
TOOLS = [{"type": "function", "function": {"name": name, "parameters": {
    "type": "object", "properties": {"city": {"type": "string"}}}}} for name, _ in CALLS]
QUESTION = {"role": "user", "content": "How is the weather?"}


def calls_of(message):
    return [(call.function.name, json.loads(call.function.arguments))
            for call in message.tool_calls or []]


def calls_and_goes_on(client, model):
    ask = dict(model=model, tools=TOOLS, temperature=0)
    choice = client.chat.completions.create(messages=[QUESTION], **ask).choices[0]
    assert choice.finish_reason == "tool_calls" and choice.message.content == WORDS, choice
    assert calls_of(choice.message) == CALLS, choice
    assert len({call.id for call in choice.message.tool_calls}) == len(CALLS), choice
    # As agents do it: the message goes back as it came, with an answer to each call.
    answers = [{"role": "tool", "tool_call_id": call.id, "content": "rain"}
               for call in choice.message.tool_calls]
    last = client.chat.completions.create(messages=[QUESTION, choice.message, *answers], **ask)
    assert last.choices[0].message.content == SAID, last
    assert last.choices[0].message.tool_calls is None, last
    assert last.choices[0].finish_reason == "stop", last


def streams_the_same_calls(client, model):
    # The SDK puts the pieces together.
    with client.chat.completions.stream(model=model, messages=[QUESTION], tools=TOOLS,
                                        temperature=0) as stream:
        events = list(stream)
        choice = stream.get_final_completion().choices[0]
    assert calls_of(choice.message) == CALLS and choice.message.content == WORDS, choice
    assert choice.finish_reason == "tool_calls", choice
    done = [e for e in events if e.type == "tool_calls.function.arguments.done"]
    assert [(e.index, e.name) for e in done] == [(i, c[0]) for i, c in enumerate(CALLS)], done
    assert sum(e.type == "content.delta" for e in events) > 1, events


def takes_one_call_or_none(client, model):
    ask = dict(model=model, messages=[QUESTION], tools=TOOLS, temperature=0)
    one = client.chat.completions.create(parallel_tool_calls=False, **ask).choices[0]
    assert calls_of(one.message) == CALLS[:1], one
    none = client.chat.completions.create(tool_choice="none", **ask).choices[0]
    assert none.message.content == SAID and not none.message.tool_calls, none


def refuses_to_force_a_call(client, model):
    for choice in ["required", {"type": "function", "function": {"name": "weather"}}]:
        try:
            client.chat.completions.create(model=model, messages=[QUESTION], tools=TOOLS,
                                           tool_choice=choice)
        except openai.InternalServerError as error:
            assert error.status_code == 501 and error.param == "tool_choice", error
        else:
            raise AssertionError(choice)


def says_that_a_model_knows_no_tools(client, model):
    try:
        client.chat.completions.create(model=model, messages=[QUESTION], tools=TOOLS)
    except openai.BadRequestError as error:
        assert error.param == "tools" and "template" in error.message, error
    else:
        raise AssertionError("not refused")


def main():
    options = ebb_server.arguments(__doc__)
    with ebb_server.Server(options) as server:
        ebb_server.run_checks([says_that_a_model_knows_no_tools], *openai_client.connect(server))
    with tempfile.TemporaryDirectory() as folder:
        options.model = str(pathlib.Path(folder) / "parrot.gguf")
        parrot_model.write(options.model, TEMPLATE, TEXTS)
        with ebb_server.Server(options) as server:
            ebb_server.run_checks(
                [calls_and_goes_on, streams_the_same_calls, takes_one_call_or_none,
                 refuses_to_force_a_call], *openai_client.connect(server))


if __name__ == "__main__":
    main()
