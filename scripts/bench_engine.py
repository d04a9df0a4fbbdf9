"""Containers to their exit: the native engine beside runc and Docker, in turn.

runc gets its own default specification (no user namespace, no system call filter), which is less
work than ours; Docker gets the bench's own daemon, which has no bridge, so only containers without
a network can be compared with it.
"""

import concurrent.futures
import json
import os
import pathlib
import random
import shutil
import statistics
import subprocess
import tarfile
import time

# Containers of one measurement of many, and how many at a time.
MANY, PARALLEL = 100, 4
# Cycles of create and delete, and how many at a time.
CYCLES, CYCLES_PARALLEL = 1000, 8
PAUSE_MS = 150
# What each figure is held against; see the titles for units.
BARS = {"ratio": 0.8, "network": 35.0, "rate": 100.0, "network rate": 75.0}


class Speed:
    """The example program, which starts containers through the engine's own interface."""

    def __init__(self, binary, program, directory):
        layer = directory / "layer"
        with tarfile.open(directory / "root.tar") as archive:
            archive.extractall(layer, filter="fully_trusted")
        root = directory / "speed"
        self.process = subprocess.Popen([program, binary, str(root), str(layer)], text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.layer = layer

    def ask(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError(f"`{line}`: the program ended with {self.process.wait()}")
        return json.loads(answer)

    def stop(self):
        self.process.stdin.close()
        if self.process.wait(timeout=60) != 0:
            raise RuntimeError("the engine did not close its environment")


class Runc:
    def __init__(self, directory, layer):
        self.bundle = directory / "bundle"
        self.bundle.mkdir()
        shutil.copytree(layer, self.bundle / "rootfs")
        subprocess.run(["runc", "spec"], cwd=self.bundle, check=True)
        path = self.bundle / "config.json"
        spec = json.loads(path.read_text())
        spec["process"].update(terminal=False, args=["/bin/busybox", "true"])
        path.write_text(json.dumps(spec))
        self.count = 0

    def once(self):
        self.count += 1
        name = f"brickyard-bench-{os.getpid()}-{self.count}"
        return timed(["runc", "run", "-b", str(self.bundle), name])


def timed(command):
    started = time.perf_counter()
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, capture_output=True)
    return (time.perf_counter() - started) * 1000.0


def program_beside(binary):
    """The example, built beside the binary; nothing where it was not built."""
    path = pathlib.Path(binary).parent / "examples" / "starts"
    return str(path) if path.exists() else None


def rate(speed, network, pause_ms, count=MANY, parallel=PARALLEL):
    """Containers a second, the pauses left out."""
    answer = speed.ask(f"many {count} {parallel} {network} {pause_ms}")
    if answer["left"]:
        raise RuntimeError(f"{answer['left']} containers are left")
    return count / (answer["seconds"] - count / parallel * pause_ms / 1000.0)


def measure(binary, directory, docker, rounds, say):
    """Figures by name: medians in milliseconds, rates in containers a second."""
    program = program_beside(binary)
    if not program:
        return None, "not run: `cargo build --release -p brickyard-engine --example starts` first"
    speed = Speed(binary, program, directory)
    runc = Runc(directory, speed.layer) if shutil.which("runc") else None
    times = {"none": [], "bridge": [], "removed": [], "runc": [], "docker": []}
    say(f"{rounds} containers to their exit, in turn")

    def ours(network):
        answer = speed.ask(f"once {network}")
        times[network].append(answer["exited"])
        if network == "none":
            times["removed"].append(answer["removed"])

    def dockers():
        run = ["docker", "run", "--rm", "--network", "none", "brickyard-bench"]
        times["docker"].append(timed([*run, "/bin/busybox", "true"]))

    turns = [lambda: ours("none"), lambda: ours("bridge")]
    if runc:
        turns.append(lambda: times["runc"].append(runc.once()))
    order = random.Random(rounds)
    for number in range(rounds):
        # The kernel is still busy with the end of the one before: nobody always comes after the same.
        for turn in order.sample(turns, len(turns)):
            turn()
        if docker and number % 5 == 0:
            dockers()
    figures = {name: statistics.median(found) for name, found in times.items() if found}
    say(f"{MANY} containers, {PARALLEL} at a time")
    for network in ("none", "bridge"):
        figures[f"{network} rate"] = rate(speed, network, 0)
        figures[f"{network} rate, pauses"] = rate(speed, network, PAUSE_MS)
    if runc:
        with concurrent.futures.ThreadPoolExecutor(PARALLEL) as pool:
            started = time.perf_counter()
            runs = [pool.submit(timed, ["runc", "run", "-b", str(runc.bundle),
                                        f"brickyard-bench-{os.getpid()}-p{number}"])
                    for number in range(MANY)]
            for done in runs:
                done.result()
            figures["runc rate"] = MANY / (time.perf_counter() - started)
    say(f"{CYCLES} containers, {CYCLES_PARALLEL} at a time")
    figures["cycles rate"] = rate(speed, "bridge", 0, CYCLES, CYCLES_PARALLEL)
    speed.stop()
    return figures, None if runc else "runc: not run (not installed)"


def report(figures, reason):
    if reason:
        print(reason)
    if not figures:
        return

    def line(title, value, bar=None, at_most=True):
        verdict = ""
        if bar is not None:
            verdict = "PASS" if (value <= bar if at_most else value >= bar) else "MISS"
        limit = "" if bar is None else f"{bar:g}"
        print(f"{title:58} {value:9.1f} {'':9} {'':9} {limit:>8} {verdict}".rstrip())

    line("run to exit, no network (ms)", figures["none"])
    if "runc" in figures:
        ratio = figures["none"] / figures["runc"]
        line("  runc run (ms)", figures["runc"])
        verdict = "PASS" if ratio <= BARS["ratio"] else "MISS"
        print(f"{'  ours / runc':58} {ratio:9.2f} {'':9} {'':9} {BARS['ratio']:8} {verdict}")
    if "docker" in figures:
        line("  docker run --network none (ms)", figures["docker"])
    line("run to exit and removed, no network (ms)", figures["removed"])
    line("run to exit, on the bridge (ms)", figures["bridge"], BARS["network"])
    for network, bar in (("none", BARS["rate"]), ("bridge", BARS["network rate"])):
        word = "no network" if network == "none" else "on the bridge"
        line(f"{PARALLEL} at a time, {word} (a second)", figures[f"{network} rate"], bar, False)
        line(f"  with pauses of {PAUSE_MS} ms between, pauses left out",
             figures[f"{network} rate, pauses"], bar, False)
    if "runc rate" in figures:
        line(f"{PARALLEL} at a time, runc (a second)", figures["runc rate"])
    line(f"{CYCLES} cycles, {CYCLES_PARALLEL} at a time, nothing left (a second)",
         figures["cycles rate"])
