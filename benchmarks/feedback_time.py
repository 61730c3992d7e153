"""Time the feedback of every exercise, from running its check cell to the end of what it prints.

    python benchmarks/feedback_time.py

Each chapter has a fresh kernel, as for a student: the first check of a chapter also loads the
checks. For each exercise the slowest of: the stub, the reference solution, every planted answer.
"""

import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "book"), str(ROOT / "tests" / "exercises")]

import test_exercises as planted  # noqa: E402

LIMIT = 1.0  # seconds; three where a model is trained


def times(chapter: str) -> dict[str, dict[str, float]]:
    """Return the seconds of each check cell by exercise and answer."""
    kernel = planted.Kernel()
    for source in planted.tagged(chapter, "exercise-setup"):
        kernel.run(source)
    stubs, checks = (planted.by_exercise(chapter, tag) for tag in ("exercise", "check"))
    taken: dict[str, dict[str, float]] = {}
    for name, solution in planted.by_exercise(chapter, "solution").items():
        answers = {"the stub": "", "the solution": planted.without_check(solution)}
        planted_here = planted.planted(chapter)[name]
        for index, answer in enumerate(planted_here.right):
            answers[f"right {index + 1}"] = planted.source_of(answer, planted_here.base)
        for mistake, (answer, _) in planted_here.wrong.items():
            answers[mistake] = planted.source_of(answer, planted_here.base)
        taken[name] = {}
        for which, source in answers.items():
            kernel.run(stubs[name])
            kernel.run(source)
            start = time.perf_counter()
            kernel.run(checks[name])
            taken[name][which] = time.perf_counter() - start
    kernel.stop()
    return taken


def main() -> int:
    print("| chapter | exercise | answers | mean, s | slowest, s | which |")
    print("| --- | --- | ---: | ---: | ---: | --- |")
    slowest = 0.0
    for chapter in planted.WITH_EXERCISES:
        for name, taken in times(chapter).items():
            which = max(taken, key=taken.get)
            mean = sum(taken.values()) / len(taken)
            print(f"| {chapter} | {name} | {len(taken)} | {mean:.2f} | {taken[which]:.2f} | "
                  f"{which} |", flush=True)
            slowest = max(slowest, taken[which])
    print(f"slowest: {slowest:.2f} s")
    return int(slowest > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
