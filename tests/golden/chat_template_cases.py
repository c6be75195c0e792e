#!/usr/bin/env python3
"""Renders every chat template of a directory with transformers and jinja2 (5.24 and 3.1.6 were used).

    python3 tests/golden/chat_template_cases.py DIR CASES
    bazel run //tests/model:chat_template_check -- CASES

DIR holds templates as *.jinja, such as vendor/llama.cpp/models/templates in the source package of
llama-cpp-python. The second command compares with what we render. CASES is a file that the first
writes; give the second its whole path.
"""

import json
import pathlib
import sys

import chat_cases


def main():
    directory, cases = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    with open(cases, "w", encoding="utf-8") as out:
        for path in sorted(directory.glob("*.jinja")):
            template = path.read_text(encoding="utf-8")
            for name, conversation in chat_cases.CONVERSATIONS.items():
                for prompt in (False, True):
                    made = chat_cases.case(f"{path.name} {name}", template, conversation, prompt)
                    out.write(json.dumps(made, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
