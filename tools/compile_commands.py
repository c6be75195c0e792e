"""Writes compile_commands.json from `bazel aquery`, for clang-tidy and editors.

usage: tools/compile_commands.py [TARGETS]     (default //...)
"""
import json
import pathlib
import subprocess
import sys


def main():
    root = pathlib.Path(__file__).resolve().parent.parent
    targets = sys.argv[1] if len(sys.argv) > 1 else "//..."
    query = f'mnemonic("CppCompile", {targets})'
    listing = subprocess.run(["bazel", "aquery", "--output=jsonproto", query], cwd=root,
                             check=True, stdout=subprocess.PIPE).stdout
    commands = []
    for action in json.loads(listing).get("actions", []):
        arguments = action["arguments"]
        sources = [a for a in arguments if a.endswith(".cc") and not a.startswith("bazel-out/")]
        if sources:
            commands.append({"directory": str(root), "file": sources[-1],
                             "arguments": [a for a in arguments if a != "-fno-canonical-system-headers"]})
    (root / "compile_commands.json").write_text(json.dumps(commands, indent=1))
    print(f"compile_commands.json: {len(commands)} files")


if __name__ == "__main__":
    main()
