"""What watches for leaks, over-releases and races does see one: each is put there on purpose."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from milane import _testing

if not _testing.available():
    pytest.skip("the emulated framework is not in this build", allow_module_level=True)

# The sanitizer that this process runs under, by the library that was loaded before everything.
PRELOADED = os.environ.get("LD_PRELOAD", "")

SCRIPT = """
import gc, threading
import milane
from milane import _testing

PROGRAM = 'program(1.3)\\n[buildInfo = dict<string, string>({{"coremlc-version", "3505.4.1"}})]\\n' \\
    '{\\nfunc main<ios18>(tensor<fp16, [1, 3, 1, 4]> x) {\\n' \\
    'tensor<fp16, [1, 3, 1, 4]> y = relu(x = x)[name = string("y")];\\n} -> (y);\\n}'

def work(times):
    with milane.open("ane") as runtime, runtime.compile(PROGRAM) as kernel:
        kernel.eval_many(times)

work(1)
gc.collect()
before = _testing.live()
"""


def run(script: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", SCRIPT + script],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env=os.environ | environment,
    )


COUNT = """
{seed}
gc.collect()
after = _testing.live()
print({{kind: after[kind] - before.get(kind, 0) for kind in after
       if after[kind] != before.get(kind, 0)}})
"""


def test_a_leaked_object_is_counted() -> None:
    # The wrapper that stays keeps its surface, too.
    leaked = run(COUNT.format(seed='with _testing.faults("seed.leak", 1):\n    work(1)'))
    assert leaked.stdout.strip() == "{'IOSurface': 1, '_ANEIOSurfaceObject': 1}", leaked.stderr
    sound = run(COUNT.format(seed="work(1)"))
    assert sound.stdout.strip() == "{}", sound.stderr


OVER_RELEASE = """
with _testing.faults("seed.over_release", 1):
    work(1)
"""


@pytest.mark.skipif("tsan" in PRELOADED, reason="for AddressSanitizer, or zombies without it")
def test_an_object_that_is_released_twice_is_found() -> None:
    if "asan" in PRELOADED:
        found = run(OVER_RELEASE)
        assert found.returncode != 0
        # The message goes to freed memory: found there, or by libobjc, which is not instrumented.
        assert "ERROR: AddressSanitizer" in found.stderr
        return
    assert "deallocated" in run(OVER_RELEASE, NSZombieEnabled="YES").stderr
    assert "deallocated" not in run("work(1)", NSZombieEnabled="YES").stderr


RACE = """
with _testing.faults("seed.race"):
    threads = [threading.Thread(target=work, args=(20_000,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
"""


@pytest.mark.skipif("tsan" not in PRELOADED, reason="for ThreadSanitizer")
def test_a_race_is_found() -> None:
    found = run(RACE)
    assert found.returncode != 0
    assert "ThreadSanitizer: data race" in found.stderr
    assert run(RACE.replace("seed.race", "perf.zero")).returncode == 0
