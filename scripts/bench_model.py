"""How long models take to load, and how much memory: many services in fifty included files.

Docker Compose, where it is there, reads the same services in turn with Brickyard, from as many files
given by `-f`, as the version in Debian does not know `include`.
"""

import os
import pathlib
import shutil
import statistics
import subprocess
import time

FILES = 50
# The growth is looked at over these; the third has the bars.
SIZES = [500, 1000, 2000, 4000]
BARRED = 2000
BAR_MS = 150.0
BAR_KIB = 100 * 1024
# Docker Compose takes seconds for more.
PEER_SIZE = 500

# Seven keys, as people write them.
SERVICE = """  s{n}:
    image: registry.example.com/team/s{n}:${{TAG:-1.0}}
    environment:
      DATABASE_URL: postgres://s{before}:${{PASSWORD:-secret}}@s{before}:5432/s
      LOG_LEVEL: info
    ports: ["{port}:8080"]
    volumes: ["data{n}:/var/lib/data"]
    depends_on: [s{before}]
    restart: unless-stopped
    logging: *log
"""


def write_models(directory, size, kind):
    """A model of so many services; returns the arguments by which it is read."""
    directory.mkdir(parents=True)
    names = [f"part{number}.yaml" for number in range(FILES)]
    services = size // FILES
    for file, name in enumerate(names):
        # Docker Compose of Debian requires a version.
        lines = ['version: "3.8"', "x-log: &log {driver: json-file, options: {max-size: 10m}}", "services:"]
        first = file * services
        for n in range(first, first + services):
            text = SERVICE.format(n=n, before=n - 1 if n > first else n + 1, port=10000 + n, file=file)
            # The first of each file needs nothing, or it would wait for itself.
            lines.append(text if n > first else text.replace(f"    depends_on: [s{n + 1}]\n", ""))
        lines.append("volumes:")
        lines += [f"  data{n}: {{}}" for n in range(first, first + services)]
        (directory / name).write_text("\n".join(lines) + "\n")
    if kind == "include":
        text = "name: bench\ninclude:\n" + "".join(f"  - {name}\n" for name in names)
        (directory / "compose.yaml").write_text(text)
        return ["-f", str(directory / "compose.yaml")]
    return [word for name in names for word in ("-f", str(directory / name))]


def timed(command):
    """Milliseconds and the peak of resident memory in KiB."""
    start = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    said = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    took = (time.monotonic() - start) * 1000.0
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise RuntimeError(f"{command[0]} ended with {process.returncode}: {said.decode()[:400]}")
    return took, usage.ru_maxrss


def measure(binary, directory, rounds, say):
    say(f"models of {SIZES[0]} to {SIZES[-1]} services")
    root = pathlib.Path(directory) / "models"
    commands = {
        str(size): [binary, *write_models(root / str(size), size, "include"), "config", "--quiet"]
        for size in SIZES
    }
    peer = shutil.which("docker-compose")
    files = write_models(root / "files", PEER_SIZE, "files")
    commands["files"] = [binary, *files, "config", "--quiet"]
    figures = {name: [] for name in commands}
    if peer:
        figures["peer"] = []
    for number in range(rounds):
        for name, command in commands.items():
            figures[name].append(timed(command))
        # The peer is slow, and its figures are steady.
        if peer and number < 3:
            figures["peer"].append(timed([peer, *files, "config", "--quiet"]))
    shutil.rmtree(root)
    return {
        name: {
            "median_ms": round(statistics.median(took for took, _ in values), 1),
            "peak_kib": max(kib for _, kib in values),
        }
        for name, values in figures.items()
    }


def report(figures):
    print()
    print(f"{f'load a model, {FILES} included files (median)':58} {'ms':>9} {'KiB':>9} {'bars':>14}")
    for size in SIZES:
        figure = figures[str(size)]
        verdict = ""
        if size == BARRED:
            holds = figure["median_ms"] <= BAR_MS and figure["peak_kib"] <= BAR_KIB
            verdict = f"{BAR_MS:.0f} {BAR_KIB} {'PASS' if holds else 'MISS'}"
        each = figure["median_ms"] * 1000.0 / size
        title = f"{size} services ({each:.0f} us each)"
        print(f"{title:58} {figure['median_ms']:9.1f} {figure['peak_kib']:9} {verdict:>19}".rstrip())
    if "peer" in figures:
        ratio = figures["peer"]["median_ms"] / figures["files"]["median_ms"]
        print(f"docker-compose takes {ratio:.0f} times as long for {PEER_SIZE} services in {FILES} files")
    else:
        print("docker-compose: not run (it is not there)")
