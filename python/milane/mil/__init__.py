"""MIL programs: parse, walk, edit, verify, print and compare them.

``parse(text)`` gives a `Program` and ``str(program)`` its canonical text, the form Apple's own
compiler writes; the two are inverse to each other. See docs/mil-grammar.md for the language.
"""

from milane._core import mil as _mil

Block = _mil.Block
Difference = _mil.Difference
Function = _mil.Function
NamedType = _mil.NamedType
ArgSchema = _mil.ArgSchema
OpSchema = _mil.OpSchema
Operation = _mil.Operation
Program = _mil.Program
Source = _mil.Source
Type = _mil.Type
Value = _mil.Value
diff = _mil.diff
load = _mil.load
ops = _mil.ops
parse = _mil.parse
read_source = _mil.read_source
resolve_weight_path = _mil.resolve_weight_path

__all__ = [
    "ArgSchema",
    "Block",
    "Difference",
    "Function",
    "NamedType",
    "OpSchema",
    "Operation",
    "Program",
    "Source",
    "Type",
    "Value",
    "diff",
    "load",
    "ops",
    "parse",
    "read_source",
    "resolve_weight_path",
]
