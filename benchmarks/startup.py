"""How much longer than `python -c pass` the cheapest commands take: `python benchmarks/startup.py [RUNS]`.

Prints the ratio of the fastest runs, which is what the commands themselves cost on a quiet machine.
"""

import subprocess
import sys
import time

COMMANDS = {
    "python -c pass": ("-c", "pass"),
    "ktx --version": ("-m", "ktx", "--version"),
    "ktx --help": ("-m", "ktx", "--help"),
    "ktx completion --help": ("-m", "ktx", "completion", "--help"),
    "ktx status --help": ("-m", "ktx", "status", "--help"),
}


def fastest_s(arguments: tuple[str, ...], runs: int) -> float:
    """Give the wall time of the fastest run; the first one, which may compile, is not counted."""
    times: list[float] = []
    for _ in range(runs + 1):
        started = time.perf_counter()
        subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, check=True)
        times.append(time.perf_counter() - started)
    return min(times[1:])


def main() -> None:
    """Measure and print."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    took_s = {name: fastest_s(arguments, runs) for name, arguments in COMMANDS.items()}
    base = took_s["python -c pass"]
    for name, took in took_s.items():
        print(f"{name:<24} {took * 1000:7.1f} ms  {took / base:5.2f}x")


if __name__ == "__main__":
    main()
