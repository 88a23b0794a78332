"""Pictures of programs: everything is in them once, nothing lies on something else."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

import milane
from milane import draw, mil
from milane.cli import main
from pictures import (
    MONO,
    NESTED,
    SVG,
    assert_types_are_free,
    assert_well_drawn,
    bodies,
    expected,
    folded_constants,
    is_inside,
    random_program,
    read,
)
from program_files import ProgramFile, corpus_programs, own_programs

DOCS = Path(__file__).resolve().parent.parent / "docs"
PROGRAMS = own_programs() + corpus_programs("real", "printed", "hand", "gen")

# --- what is in a picture


@pytest.mark.parametrize("file", PROGRAMS, ids=lambda f: f.id)
def test_every_operation_and_edge_of_a_program_is_drawn_once(file: ProgramFile) -> None:
    program = mil.parse(file.text)
    for function in program.functions:
        picture = read(draw.svg(program, function.name))
        assert (picture.ops, picture.edges) == expected(function, folded_constants(function))
        ports = [n.values[0] for n in picture.nodes.values() if n.kind in ("input", "state")]
        assert Counter(ports) == Counter(i.name for b in bodies(function) for i in b.inputs)
        assert_well_drawn(picture)
        assert_types_are_free(picture)


@pytest.mark.parametrize("file", own_programs(), ids=lambda f: f.id)
def test_constants_are_nodes_when_asked_for(file: ProgramFile) -> None:
    program = mil.parse(file.text)
    for function in program.functions:
        picture = read(draw.svg(program, function.name, constants=True))
        assert (picture.ops, picture.edges) == expected(function, set())
        assert_well_drawn(picture)


def test_nested_blocks_are_inside_their_operation() -> None:
    program = mil.parse(NESTED)
    picture = read(draw.svg(program))
    assert (picture.ops, picture.edges) == expected(program["main"], {"half"})
    assert_well_drawn(picture)
    by_value = {n.values[0]: n for n in picture.nodes.values() if n.kind == "op" and n.values}
    outer, inner = by_value["y"], by_value["b"]
    for name, node in by_value.items():
        assert is_inside(node, outer) == (name in ("y", "a", "a2", "b", "c")), name
        assert is_inside(node, inner) == (name in ("b", "c")), name
    outside = Counter(n.values[0] for n in picture.nodes.values() if n.kind == "outside")
    assert outside == {"h": 3, "p": 1, "x": 2}
    assert "y 0.5" in by_value["a2"].text  # a constant of the function, used in a block


def test_a_result_with_the_name_of_an_outer_constant_is_not_that_constant() -> None:
    program = mil.parse(NESTED)
    inner = program["main"].operations[2].blocks[0].operations[0]
    inner.outputs = [mil.NamedType("half", inner.outputs[0].type)]
    edges = read(draw.svg(program)).edges
    assert edges["half", "add", ("a2",), "y"] == 1
    assert edges["half", "mul", ("h",), "y"] == 0


def test_a_constant_that_is_an_output_is_a_node() -> None:
    program = mil.parse(NESTED)
    program["main"].outputs = ["y2", "half"]
    picture = read(draw.svg(program))
    assert picture.ops["const", ("half",)] == 1
    assert picture.edges["half", "", ("half",), ""] == 1
    assert picture.edges["half", "mul", ("h",), "y"] == 1


def test_inputs_are_above_and_outputs_below_everything() -> None:
    program = random_program(200, seed=1, reach=30)
    nodes = read(draw.svg(program)).nodes.values()
    inputs = [n for n in nodes if n.kind == "input"]
    outputs = [n for n in nodes if n.kind == "output"]
    ops = [n for n in nodes if n.kind == "op"]
    assert max(n.y for n in inputs) < min(n.y for n in ops)
    assert min(n.y for n in outputs) > max(n.y for n in ops)


def test_many_inputs_and_outputs_stand_in_several_rows() -> None:
    names = [f"x{i}" for i in range(40)]
    inputs = ", ".join(f"fp16 {name}" for name in names)
    text = f"program(1.3) {{ func main<ios18>({inputs}) {{}} -> ({', '.join(names)}); }}"
    picture = read(draw.svg(mil.parse(text)))
    assert_well_drawn(picture)
    for kind in ("input", "output"):
        rows = Counter(n.y for n in picture.nodes.values() if n.kind == kind)
        assert sorted(rows.values()) == [4, 12, 12, 12]


def test_an_operation_with_many_results_counts_their_types() -> None:
    outputs = ", ".join(f"tensor<fp16, [1, 2]> y{i}" for i in range(6))
    program = mil.parse(
        f"program(1.3) {{ func main<ios18>(tensor<fp16, [1, 12]> x) {{ {outputs} = "
        "split(x = x, num_splits = int32(6), axis = int32(1)); } -> (y0, y5); }"
    )
    picture = read(draw.svg(program))
    assert_well_drawn(picture)
    (split,) = (n for n in picture.nodes.values() if n.op == "split")
    assert split.text[-1] == "6 × fp16 [1, 2]"
    assert picture.edges["y5", "", ("y5",), ""] == 1


def test_a_state_has_a_shape_of_its_own() -> None:
    root = read(draw.svg(mil.parse(NESTED))).root
    shapes = {
        e.attrib["data-kind"]: [c.tag.removeprefix(SVG) for c in e][1]
        for e in root.iter()
        if "data-kind" in e.attrib
    }
    assert shapes == {
        "state": "path", "input": "rect", "op": "rect", "outside": "rect", "output": "rect"
    }  # fmt: skip


def test_types_and_constants_are_written_out() -> None:
    program = mil.parse("""program(1.3)
{
    func main<ios18>(tensor<fp16, [1, 768, 1, 64]> x) {
            tensor<fp16, [8, 768, 1, 1]> w = const()[name = string("w"), val = tensor<fp16, [8, 768, 1, 1]>(BLOBFILE(path = string("@model_path/weights/wq.bin"), offset = uint64(64)))];
            tensor<int32, [2]> s = const()[name = string("s"), val = tensor<int32, [2]>([1, 1])];
            tensor<fp16, [8]> b = const()[name = string("b"), val = tensor<fp16, [8]>([0x1.99p-4, 0, 0, 0, 0, 0, 0, 0])];
            tensor<fp16, [9]> unused = const()[name = string("unused"), val = tensor<fp16, [9]>([1, 0, 0, 0, 0, 0, 0, 0, 0])];
            tensor<fp16, [1, 8, 1, 64]> y = conv(x = x, weight = w, bias = b, strides = s, pad_type = string("valid"), groups = int32(1), dilations = s, pad = tensor<int32, [4]>([0, 0, 0, 0]))[name = string("y")];
        } -> (y);
}
""")
    picture = read(draw.svg(program))
    nodes = {n.values[0]: n for n in picture.nodes.values() if n.kind == "op"}
    text = " · ".join(nodes["y"].text)
    assert text.startswith("conv · y · ")
    assert text.endswith(" · fp16 [1, 8, 1, 64]")  # beside the line
    for said in (
        "weight fp16 [8, 768, 1, 1] @weights/wq.bin+64",
        "strides [1, 1]",
        "dilations [1, 1]",
        'pad_type "valid"',
        "groups 1",
        "pad [0, 0, 0, 0]",
        "bias [0.09985, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]",
    ):
        assert said in text
    assert nodes["y"].tooltip == str(program["main"].operations[-1])
    assert nodes["unused"].text == ["const", "unused", "fp16 [9]", "fp16 [9]"]
    assert set(nodes) == {"y", "unused"}
    tooltips = [e.findtext(f"{SVG}title") for e in picture.root.iter() if "data-from" in e.attrib]
    assert tooltips == ["x: fp16 [1, 768, 1, 64]", "y: fp16 [1, 8, 1, 64]"]


def test_a_name_without_a_definition_is_drawn_as_such() -> None:
    program = mil.parse(NESTED)
    program["main"].operations[1].set_input("x", "nowhere")
    picture = read(draw.svg(program))
    (node,) = (n for n in picture.nodes.values() if n.values == ["nowhere"])
    assert node.kind == "outside"
    assert "not defined" in node.text


def test_an_empty_function_is_a_picture() -> None:
    program = mil.parse("program(1.3)\n{\n    func main<ios18>() {} -> ();\n}\n")
    assert read(draw.svg(program)).nodes == {}


# --- text


def test_strings_that_xml_reserves_come_back_as_they_were() -> None:
    program = mil.parse(NESTED)
    text = '<script>alert("&amp;")</script>\'\u4e2d\u6587'
    program["main"].append(
        mil.Operation(
            "made_up",
            [("z", "tensor<fp16, [1]>")],
            {"x": "x", "mode": mil.Value.string(text)},
            {"name": mil.Value.string(text)},
        )
    )
    picture = read(draw.svg(program))
    (node,) = (n for n in picture.nodes.values() if n.op == "made_up")
    assert f'mode "{text}"' in node.text
    assert node.tooltip == str(program["main"].operations[-1])
    assert picture.root.find(f".//{SVG}script") is None
    assert any("unknown operation" in (t.text or "") for t in picture.root.iter(f"{SVG}text"))


def test_characters_that_xml_has_not_are_replaced() -> None:
    program = mil.parse(NESTED)
    op = mil.Operation("made_up", [], {"x": "x", "mode": mil.Value.string("a\x01\x0bb")})
    program["main"].append(op)
    (node,) = (n for n in read(draw.svg(program)).nodes.values() if n.op == "made_up")
    assert 'mode "a\ufffd\ufffdb"' in node.text


# Advances of DejaVu Sans Bold, wider than Helvetica's and Arial's, in units of 1/2048 of the size.
BOLD = dict(
    zip(
        "abcdefghijklmnopqrstuvwxyz0123456789_…",
        (
            1382,
            1466,
            1214,
            1466,
            1389,
            891,
            1466,
            1458,
            702,
            702,
            1362,
            702,
            2134,
            1458,
            1407,
            1466,
            1466,
            1010,
            1219,
            979,
            1458,
            1335,
            1892,
            1321,
            1335,
            1192,
            1425,
            1425,
            1425,
            1425,
            1425,
            1425,
            1425,
            1425,
            1425,
            1425,
            1024,
            2048,
        ),
        strict=True,
    )
)


@pytest.mark.parametrize("file", own_programs(), ids=lambda f: f.id)
def test_text_fits_its_box_in_a_wide_font(file: ProgramFile) -> None:
    program = mil.parse(file.text)
    root = read(draw.svg(program, program.functions[0].name)).root
    for group in (g for g in root.iter(f"{SVG}g") if "data-box" in g.attrib):
        x, _, width, _ = map(float, group.attrib["data-box"].split())
        for text in group.iter(f"{SVG}text"):
            if text.get("text-anchor") != "middle":  # a type, which stands below the box
                continue
            said = str(text.text)
            if text.attrib["class"] == "title":
                length = 13 * sum(BOLD[c] for c in said.lower()) / 2048
            else:
                length = 10 * MONO * len(said)
            middle = float(text.attrib["x"])
            assert x + 2 <= middle - length / 2, said
            assert middle + length / 2 <= x + width - 2, said


def test_long_names_keep_their_ends() -> None:
    program = mil.parse(NESTED)
    program["main"].rename_value("h", "start_" + "very_" * 40 + "end")
    (node,) = (n for n in read(draw.svg(program)).nodes.values() if n.op == "mul")
    assert re.fullmatch(r"start_very_\w+…\w+_end", node.text[1])
    assert "very_" * 40 in node.values[0]


def test_the_same_program_gives_the_same_text_in_every_process(tmp_path: Path) -> None:
    path = tmp_path / "net.mil"
    path.write_text(str(random_program(150, seed=3, reach=12)))
    code = "import sys, milane; print(milane.draw.svg(milane.mil.load(sys.argv[1])))"
    texts = [
        subprocess.run(
            [sys.executable, "-c", code, str(path)],
            env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONIOENCODING": "utf-8"},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert texts[0] == texts[1]
    assert len(texts[0]) > 10_000


# --- colours


def test_every_operation_has_one_family() -> None:
    listed = [op for family in draw.FAMILIES for op in family.ops]
    assert sorted(listed) == sorted(op.name for op in mil.ops())


def test_the_legend_has_the_families_in_the_picture() -> None:
    root = read(draw.svg(mil.parse(NESTED))).root
    words = {t.text for t in root.findall(f"{SVG}g/{SVG}text") if t.get("text-anchor") is None}
    assert {f.label for f in draw.FAMILIES} & words == {
        "elementwise", "activation", "state", "control flow, lists, buffers"
    }  # fmt: skip


def test_every_family_looks_different_in_light_and_dark() -> None:
    for lightness in (0.17, 0.40, 0.62, 0.93):
        assert len({f.colour(lightness) for f in draw.FAMILIES}) == len(draw.FAMILIES)
    style = read(draw.svg(mil.parse(NESTED))).root.findtext(f"{SVG}style", "")
    light, dark = style.split("@media (prefers-color-scheme: dark)")
    family = draw.family_of("relu")
    assert f"fill: {family.colour(0.93)}; stroke: {family.colour(0.40)};" in light
    assert f"fill: {family.colour(0.17)}; stroke: {family.colour(0.62)};" in dark


# --- refusals, files, the command


def test_an_unknown_function_is_refused_with_the_known_ones() -> None:
    with pytest.raises(milane.InvalidArgumentError, match="one of the functions main, got other"):
        draw.svg(mil.parse(NESTED), "other")


def test_several_functions_without_main_need_a_name() -> None:
    text = "program(1.3) { func f<ios18>(fp16 x) {} -> (x); func g<ios18>(fp16 x) {} -> (x); }"
    with pytest.raises(milane.InvalidArgumentError, match="functions f, g") as caught:
        draw.svg(mil.parse(text))
    assert "function=" in caught.value.hint
    assert "g&lt;ios18&gt;" in draw.svg(mil.parse(text), "g")


def test_more_operations_than_wanted_are_refused() -> None:
    program = random_program(20, seed=0, reach=3)
    with pytest.raises(milane.InvalidArgumentError, match="at most 19 operations in main, got 20"):
        draw.svg(program, max_ops=19)
    assert draw.svg(program, max_ops=20) == draw.svg(program, max_ops=None)


def test_a_saved_picture_replaces_the_file_whole(tmp_path: Path) -> None:
    path = tmp_path / "net.svg"
    path.write_text("before")
    program = mil.parse(NESTED)
    draw.save(program, path, constants=True)
    assert path.read_text(encoding="utf-8") == draw.svg(program, constants=True)
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_write_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(milane.ModelFileError):
        draw.save(mil.parse(NESTED), tmp_path / "missing" / "net.svg")

    def fail(*_: object) -> None:
        raise OSError("no rename")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="no rename"):
        draw.save(mil.parse(NESTED), tmp_path / "net.svg")
    assert list(tmp_path.iterdir()) == []


def test_the_command_writes_the_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "net.mil").write_text(NESTED)
    monkeypatch.chdir(tmp_path)
    assert main(["draw", "net.mil"]) == 0
    assert capsys.readouterr().out == "picture  net.svg\n"
    assert Path("net.svg").read_text(encoding="utf-8") == draw.svg(mil.parse(NESTED))
    options = ["-o", "all.svg", "--constants", "--function", "main", "--json"]
    assert main(["draw", "net.mil", *options]) == 0
    assert json.loads(capsys.readouterr().out) == {"model": "net.mil", "picture": "all.svg"}
    assert "all.svg" in os.listdir()
    assert read(Path("all.svg").read_text(encoding="utf-8")).ops["const", ("half",)] == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--function", "f"], "hint: give --function NAME"),
        (["--max-ops", "3"], "hint: give a larger --max-ops N"),
        (["-o", "missing/net.svg"], "No such file or directory"),
    ],
    ids=["unknown function", "too many operations", "no such folder"],
)
def test_the_command_says_what_to_do_instead(
    options: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "net.mil").write_text(NESTED)
    monkeypatch.chdir(tmp_path)
    assert main(["draw", "net.mil", *options]) == 1
    assert message in capsys.readouterr().err
    assert os.listdir() == ["net.mil"]


def test_the_picture_in_the_documentation_is_of_the_program_beside_it() -> None:
    page = (DOCS / "draw.md").read_text(encoding="utf-8")
    found = re.search(r"^```text\n(program.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert found is not None
    picture = (DOCS / "draw.svg").read_text(encoding="utf-8")
    assert picture == draw.svg(mil.parse(found[1]))
