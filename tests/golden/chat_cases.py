"""Conversations for chat templates, and what transformers renders of them. Used by the scripts here.

A case holds a conversation in OpenAI's form: the arguments of tool calls are JSON in a string. They
are rendered as the object that they say; where the template cannot take that, as the string.
"""

import copy
import datetime
import json

from transformers.utils import chat_template_utils

BOS, EOS = "<|begin|>", "<|end|>"
NOW = datetime.datetime(2024, 7, 26, 12, 34, 56)

TOOLS = [
    {"type": "function", "function": {
        "name": "get_weather", "description": "The weather of a place: now, or \"later\".\n<b>&'",
        "parameters": {"type": "object", "required": ["place"], "properties": {
            "place": {"type": "string", "description": "City, e.g. Zürich"},
            "days": {"type": "integer", "minimum": 1, "default": 3},
            "unit": {"type": "string", "enum": ["celsius", "kelvin"]},
            "exact": {"type": ["boolean", "null"]},
            "points": {"type": "array", "items": {"type": "object", "properties": {
                "x": {"type": "number", "maximum": 1.5}}}}}}}},
    {"type": "function", "function": {
        "name": "now", "description": "The time", "parameters": {"type": "object", "properties": {}}}},
]


def call(name, arguments, call_id="call12345"):
    return {"id": call_id, "type": "function",
            "function": {"name": name, "arguments": json.dumps(arguments, ensure_ascii=False)}}


USER = {"role": "user", "content": "What is the weather in Zürich?"}
CALLS = {"role": "assistant", "tool_calls": [
    call("get_weather", {"place": "Zürich", "days": 2, "exact": True, "points": [{"x": 0.5}]})]}
RESULT = {"role": "tool", "tool_call_id": "call12345", "name": "get_weather",
          "content": "{\"degrees\": 21.5}"}
ANSWER = {"role": "assistant", "content": "It is 21.5 degrees."}
SYSTEM = {"role": "system", "content": " You are helpful. "}

CONVERSATIONS = {
    "plain": {"messages": [USER]},
    "system": {"messages": [SYSTEM, {"role": "user", "content": "  hi \n"}]},
    "turns": {"messages": [SYSTEM, {"role": "user", "content": "1+1?"},
                           {"role": "assistant", "content": "2"},
                           {"role": "user", "content": "it's \"sure\"?"}]},
    "ends_with_answer": {"messages": [{"role": "user", "content": "a"},
                                      {"role": "assistant", "content": "b"}]},
    "tools": {"messages": [SYSTEM, USER], "tools": TOOLS},
    "calls": {"messages": [USER, CALLS, RESULT], "tools": TOOLS},
    "calls_answered": {"messages": [SYSTEM, USER, CALLS, RESULT, ANSWER,
                                    {"role": "user", "content": "thanks"}], "tools": TOOLS},
    "two_calls": {"messages": [
        USER,
        {"role": "assistant", "content": "Two at once.",
         "tool_calls": [call("get_weather", {"place": "Bern"}, "abcdefghi"),
                        call("now", {}, "jklmnopqr")]},
        {"role": "tool", "tool_call_id": "abcdefghi", "name": "get_weather", "content": "rain"},
        {"role": "tool", "tool_call_id": "jklmnopqr", "name": "now", "content": "12:00"}],
        "tools": TOOLS},
    "calls_without_tools": {"messages": [USER, CALLS, RESULT]},
    "reasoning": {"messages": [USER, {"role": "assistant", "content": "b",
                                      "reasoning_content": "I think."},
                               {"role": "user", "content": "more"}]},
    "reasoning_and_call": {"messages": [USER, {
        "role": "assistant", "content": "", "reasoning_content": "A tool.\n",
        "tool_calls": CALLS["tool_calls"]}, RESULT], "tools": TOOLS},
    "think_in_content": {"messages": [USER, {"role": "assistant",
                                             "content": "<think>\nhm\n</think>\n\nyes"},
                                      {"role": "user", "content": "and?"}]},
    "thinking_off": {"messages": [USER], "variables": {"enable_thinking": False,
                                                       "thinking": False}},
    "thinking_on": {"messages": [SYSTEM, USER], "variables": {
        "enable_thinking": True, "thinking": True, "reasoning_effort": "high",
        "keep_past_thinking": True, "clear_thinking": False}},
    "developer": {"messages": [{"role": "developer", "content": "Be short."}, USER]},
    "documents": {"messages": [USER], "variables": {
        "documents": [{"title": "A", "text": "The \"text\""}, {"title": "B", "text": "é"}],
        "controls": {"length": "short"}, "date_string": "26 Jul 2024"}},
}


class _Datetime(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return NOW


def with_objects(conversation):
    parsed = copy.deepcopy(conversation)
    for message in parsed["messages"]:
        for tool_call in message.get("tool_calls", []):
            function = tool_call["function"]
            function["arguments"] = json.loads(function["arguments"])
    return parsed


def render_once(template, conversation, add_generation_prompt):
    """The text, or None where the template or Jinja refuses; and why."""
    chat_template_utils.datetime = _Datetime
    variables = {"bos_token": BOS, "eos_token": EOS, **conversation.get("variables", {})}
    try:
        rendered = chat_template_utils.render_jinja_template(
            [conversation["messages"]], tools=conversation.get("tools"), chat_template=template,
            add_generation_prompt=add_generation_prompt, **variables)
        return (rendered[0] if isinstance(rendered, tuple) else rendered)[0], None
    except Exception as error:  # Jinja raises errors of many kinds, Python's own among them.
        return None, f"{type(error).__name__}: {error}"


def render(template, conversation, add_generation_prompt):
    text, error = render_once(template, with_objects(conversation), add_generation_prompt)
    has_calls = any("tool_calls" in m for m in conversation["messages"])
    if text is None and has_calls:
        text, _ = render_once(template, conversation, add_generation_prompt)
    return text, error


def case(name, template, conversation, add_generation_prompt):
    text, error = render(template, conversation, add_generation_prompt)
    return {"name": name, "template": template, "conversation": conversation,
            "add_generation_prompt": add_generation_prompt, "text": text, "error": error}
