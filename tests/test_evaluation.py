"""What an evaluation must not do: allocate memory, or hold the interpreter."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import milane

HERE = Path(__file__).resolve().parent
COMPILER = shutil.which("c++") or shutil.which("cc")

# Counts calls of the C allocator made by the whole process.
COUNTER = r"""
#include <dlfcn.h>
#include <stdatomic.h>
#include <stddef.h>
static atomic_long calls;
static void *(*real_malloc)(size_t);
static void *(*real_aligned)(size_t, size_t);
void *malloc(size_t n) {
  if (!real_malloc) real_malloc = (void *(*)(size_t))dlsym(RTLD_NEXT, "malloc");
  atomic_fetch_add(&calls, 1);
  return real_malloc(n);
}
void *aligned_alloc(size_t a, size_t n) {
  if (!real_aligned) real_aligned = (void *(*)(size_t, size_t))dlsym(RTLD_NEXT, "aligned_alloc");
  atomic_fetch_add(&calls, 1);
  return real_aligned(a, n);
}
long allocation_count(void) { return atomic_load(&calls); }
"""

# Prints the programs whose evaluation allocates, then how many were looked at.
SCRIPT = """
import ctypes, sys, tempfile
from pathlib import Path
sys.path[:0] = {paths!r}
import milane
from program_files import own_programs, random_inputs
count = ctypes.CDLL(None).allocation_count
count.restype = ctypes.c_long
before = count()
bytearray(1 << 20)
assert count() > before, "the counter does not count"
runtime = milane.open("host")
programs = own_programs()
for program in programs:
    kernel = program.compile(runtime, Path(tempfile.mkdtemp()))
    for name, value in random_inputs(kernel).items():
        kernel.inputs[name].surface.write(value)
    evaluate = kernel.eval
    counts = []
    for _ in range(7):
        start = count()
        evaluate()
        counts.append(count() - start)
    # A worker thread's very first task allocates its thread-local storage, once: what every
    # evaluation allocates shows in all of them.
    if min(counts) > 0:
        print(program.id, counts)
print("looked at", len(programs))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts through LD_PRELOAD")
@pytest.mark.skipif(COMPILER is None, reason="no C compiler to build the counter with")
def test_evaluation_allocates_nothing(tmp_path: Path) -> None:
    source, library = tmp_path / "count.c", tmp_path / "count.so"
    source.write_text("#define _GNU_SOURCE\n" + COUNTER)
    build = [str(COMPILER), "-x", "c", "-shared", "-fPIC", "-O1", str(source), "-o", str(library)]
    subprocess.run([*build, "-ldl"], check=True)
    script = SCRIPT.format(paths=[str(HERE), str(HERE.parent / "tools")])
    environment = os.environ | {"LD_PRELOAD": str(library)}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, check=True, capture_output=True, text=True
    )
    assert done.stdout.splitlines()[:-1] == []
    assert done.stdout.startswith("looked at")


def test_evaluation_releases_the_interpreter(runtime: milane.Runtime) -> None:
    n = 1536
    tensor = f"tensor<fp16, [{n}, {n}]>"
    kernel = runtime.compile(
        f"program(1.3)\n{{\n    func main<ios18>({tensor} x) {{\n"
        f'            {tensor} y = matmul(x = x, y = x)[name = string("y")];\n'
        "        }} -> (y);\n}\n".replace("}}", "}")
    )
    kernel.inputs["x"].array[...] = np.eye(n, dtype=np.float16)
    running, during = threading.Event(), []

    def evaluate() -> None:
        running.set()
        kernel.eval()
        during.append("done")

    thread = threading.Thread(target=evaluate)
    thread.start()
    running.wait()
    turns = 0
    # This loop only turns while another thread is inside eval() because eval() lets it.
    while not during and turns < 1_000_000:
        turns += 1
        time.sleep(0)
    thread.join()
    assert turns > 10
