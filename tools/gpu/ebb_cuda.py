"""The table of the CUDA library (device/cuda/cuda_api.h) for Python, read from the header itself.

    api = ebb_cuda.load("libebb_cuda.so")
    api.check(api.find(ctypes.byref(info)))

Nothing of the header is repeated here: structures, constants and functions are made from its text by
a parser of the plain C that it is written in. //tests/gpu:cuda_api_layout_test,
which this program writes, has the compiler confirm every size and offset:

    python3 ebb_cuda.py --layout-test cuda_api.h > cuda_api_layout_test.cc
"""
import argparse
import ctypes
import pathlib
import re

SCALARS = {
    "char": ctypes.c_char,
    "uint8_t": ctypes.c_uint8,
    "uint16_t": ctypes.c_uint16,
    "int32_t": ctypes.c_int32,
    "uint32_t": ctypes.c_uint32,
    "int64_t": ctypes.c_int64,
    "uint64_t": ctypes.c_uint64,
    "float": ctypes.c_float,
    "double": ctypes.c_double,
}


class HeaderError(Exception):
    """The header holds something that this parser does not know."""


class Header:
    """What cuda_api.h declares: constants by name, structures by name, and the table's functions."""

    def __init__(self, text):
        text = re.sub(r"//[^\n]*|/\*.*?\*/", "", text, flags=re.DOTALL)
        self.constants = {}
        self.enums = {}  # Of each: names by value.
        self.structs = {}
        for name, value in re.findall(r"^#define (EBB_\w+) (\d+)u?\s*$", text, flags=re.MULTILINE):
            self.constants[name] = int(value)
        pattern = r"typedef (enum|struct) (\w+) (?:\{(.*?)\} )?(\w+);"
        for kind, name, body, alias in re.findall(pattern, text, flags=re.DOTALL):
            if name != alias:
                raise HeaderError(f"typedef of {name} as {alias}")
            if kind == "enum":
                self._add_enum(name, body)
            elif body:
                self._add_struct(name, body)
        if "EbbCudaApi" not in self.structs:
            raise HeaderError("no EbbCudaApi in the header")

    def _add_enum(self, name, body):
        self.enums[name] = {}
        for item in filter(None, (part.strip() for part in body.split(","))):
            key, value = (part.strip() for part in item.split("="))
            self.constants[key] = int(value)
            self.enums[name][int(value)] = key

    def _add_struct(self, name, body):
        fields = [self._field(item.strip()) for item in body.split(";") if item.strip()]
        self.structs[name] = type(name, (ctypes.Structure,), {"_fields_": fields})

    def _field(self, text):
        text = " ".join(text.split())
        function = re.fullmatch(r"(.+?) ?\(\*(\w+)\)\((.*)\)", text)
        if function:
            result, name, arguments = function.groups()
            arguments = [] if arguments == "void" else arguments.split(",")
            types = [self._type(re.sub(r"\w+$", "", argument.strip())) for argument in arguments]
            return name, ctypes.CFUNCTYPE(self._type(result), *types)
        field = re.fullmatch(r"(.+?)(\w+)(?:\[(\w+)\])?", text)
        if not field:
            raise HeaderError(f"not understood: {text}")
        kind, name, count = field.groups()
        if count is None:
            return name, self._type(kind)
        return name, self._type(kind) * (int(count) if count.isdigit() else self.constants[count])

    def _type(self, text):
        text = text.replace("const ", "").strip()
        if text.endswith("*"):
            return ctypes.c_char_p if text == "char*" else ctypes.c_void_p
        if text == "void":
            return None
        if text in SCALARS:
            return SCALARS[text]
        if text in self.enums:
            return ctypes.c_int32
        if text in self.structs:
            return self.structs[text]
        raise HeaderError(f"unknown type {text!r}")


class ApiError(Exception):
    """A function of the table answered another code than OK."""


class Api:
    """The functions of a loaded library, its structures as attributes, its constants by name.

    Functions have the header's names and answer codes; call them through check(), which raises
    ApiError with the library's words."""

    def __init__(self, path, header):
        self.header = header
        library = ctypes.CDLL(str(path))
        entry = library.EbbCudaOpenApi
        entry.argtypes = [ctypes.c_uint32]
        entry.restype = ctypes.c_void_p
        address = entry(header.constants["EBB_CUDA_ABI"])
        if not address:
            raise ApiError(f"{path} is of another version than the header: "
                           f"it has no ABI {header.constants['EBB_CUDA_ABI']}")
        self.table = header.structs["EbbCudaApi"].from_address(address)
        if self.table.table_bytes != ctypes.sizeof(self.table):
            raise ApiError(f"{path}: its table has {self.table.table_bytes} bytes, "
                           f"the header's {ctypes.sizeof(self.table)}")
        self.name = self.table.name.decode()

    def __getattr__(self, name):
        if name.startswith("EBB_"):
            return self.header.constants[name]
        if name.startswith("Ebb"):
            return self.header.structs[name]
        return getattr(self.table, name)

    def check(self, code):
        if code != self.EBB_CUDA_OK:
            raise ApiError(f"{self.code_name(code)}: {self.table.error_text().decode()}")

    def code_name(self, code):
        return self.header.enums["EbbCudaCode"].get(code, f"code {code}").removeprefix("EBB_CUDA_")


def find_header():
    """cuda_api.h beside this file (in a pack) or in the checkout."""
    here = pathlib.Path(__file__).resolve().parent
    for path in (here / "cuda_api.h", here.parent.parent / "device" / "cuda" / "cuda_api.h"):
        if path.exists():
            return path
    raise FileNotFoundError("cuda_api.h is neither beside ebb_cuda.py nor in device/cuda")


def read_header(path=None):
    return Header((path or find_header()).read_text(encoding="utf-8"))


def load(path, header=None):
    return Api(path, header or read_header())


def layout_test(header):
    """C++ that compiles only if every structure lies in memory as ctypes has it."""
    lines = ["#include <cstddef>", '#include "device/cuda/cuda_api.h"', '#include "gtest/gtest.h"', ""]
    for name, struct in header.structs.items():
        lines.append(f"static_assert(sizeof({name}) == {ctypes.sizeof(struct)});")
        for field, _ in struct._fields_:
            offset = getattr(struct, field).offset
            lines.append(f"static_assert(offsetof({name}, {field}) == {offset});")
    for name, value in header.constants.items():
        lines.append(f"static_assert({name} == {value});")
    lines += ["", f"TEST(CudaApiLayoutTest, Has{len(header.structs)}Structures) {{}}"]
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--layout-test", metavar="HEADER", type=pathlib.Path, required=True,
                        help="write the C++ that checks sizes and offsets against this header")
    print(layout_test(read_header(parser.parse_args().layout_test)), end="")


if __name__ == "__main__":
    main()
