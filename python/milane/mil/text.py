"""Pieces of text for programs written by hand."""

from __future__ import annotations

from typing import Final

from milane._core import mil as _mil
from milane.mil.program import BUILD_INFO


def _header() -> str:
    program = _mil.Program("1.3")
    program.set_attribute("buildInfo", BUILD_INFO)
    return str(program).rstrip().removesuffix("}").rstrip() + "\n"


# What stands in front of the first function: version, buildInfo and the opening brace. A closing
# brace ends the program.
MIL_HEADER: Final = _header()

# The constants of a 1x1 convolution under the names it takes them by:
# conv(dilations = dl, groups = gr, pad = pd, pad_type = pt, strides = st, weight = W, x = x).
CONV_CONST: Final = """\
    string pt = const()[name = string("pt"), val = string("valid")];
    tensor<int32, [2]> st = const()[name = string("st"), val = tensor<int32, [2]>([1, 1])];
    tensor<int32, [4]> pd = const()[name = string("pd"), val = tensor<int32, [4]>([0, 0, 0, 0])];
    tensor<int32, [2]> dl = const()[name = string("dl"), val = tensor<int32, [2]>([1, 1])];
    int32 gr = const()[name = string("gr"), val = int32(1)];
"""
