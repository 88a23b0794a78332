"""Compiles the native library for Linux on aarch64: the NEON loops, under a second system's rules.

    python tools/macos/compile_linux.py

Nothing is linked and nothing runs. Plain char is unsigned there, unlike on x86-64 and on a Mac.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from cross import HERE, LINUX, ROOT, CrossError, environment, run, step


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 1 when something does not compile."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "linux_aarch64")
    folder = parser.parse_args(argv).folder.resolve()
    try:
        shutil.rmtree(folder, ignore_errors=True)
        env = environment(LINUX, link_stubs=folder)
        ask = [sys.executable, "-m", "pybind11", "--cmakedir"]
        pybind11 = subprocess.check_output(ask, text=True).strip()
        with step("all but the bindings, for Linux on aarch64"):
            run(
                [
                    *("cmake", "-S", ROOT, "-B", folder, "-G", "Ninja"),
                    f"-DCMAKE_TOOLCHAIN_FILE={HERE / 'zig.cmake'}",
                    f"-DPython_EXECUTABLE={sys.executable}",
                    f"-Dpybind11_DIR={pybind11}",
                    "-DMILANE_WERROR=ON",
                ],
                env=env,
            )
            run(["cmake", "--build", folder, "--target", "milane_backends"], env=env)
    except CrossError as error:
        print(error, file=sys.stderr)
        return 1
    print("compiles for Linux on aarch64; not that it runs")
    return 0


if __name__ == "__main__":
    sys.exit(main())
