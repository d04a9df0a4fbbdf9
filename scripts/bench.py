#!/usr/bin/env python3
"""Measures Brickyard on twenty services and says where it stands against its bars.

Each service has a health check, a template, a line to one database and a published port. The same
services run under Docker Compose in turn with Brickyard's, where a Docker daemon answers. A bar
that is missed is printed, and is no failure: machines differ. Prints a table, then one line of
JSON; needs root and a release build (or BRICKYARD=path).
"""

import argparse
import datetime
import glob
import io
import json
import os
import pathlib
import random
import shutil
import socket
import statistics
import subprocess
import sys
import tarfile
import tempfile
import threading
import time

import bench_confd
import bench_engine
import bench_model

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent
SERVICES = 20
# An outside reader looks this often; its own work must not be what is measured.
POLL_SECONDS = 0.002
DEADLINE_SECONDS = 60.0
IDLE_SECONDS = 10.0
# milliseconds: the bars of the figures that have one.
BARS = {"up": 2000.0, "again": 100.0, "key": 50.0, "replaced": 1000.0}


def say(text):
    print(text, file=sys.stderr, flush=True)


def fail(text):
    say(f"error: {text}")
    sys.exit(1)


def find_binary(args):
    """The release binary, unless the environment names one."""
    named = os.environ.get("BRICKYARD")
    target = os.environ.get("CARGO_TARGET_DIR", str(REPOSITORY / "target"))
    found = [named] if named else sorted(glob.glob(f"{target}/*/release/brickyard"))
    found += [] if named else glob.glob(f"{target}/release/brickyard")
    if not found or not os.access(found[0], os.X_OK):
        fail("no binary: run `cargo build --release`, or set BRICKYARD")
    if os.geteuid() != 0:
        if not shutil.which("sudo"):
            fail("real containers need root")
        kept = [f"{name}={os.environ[name]}" for name in ("BRICKYARD_ROOT",) if name in os.environ]
        kept.append(f"BRICKYARD={found[0]}")
        os.execvp("sudo", ["sudo", *kept, sys.executable, __file__, *args])
    return os.path.abspath(found[0])


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def root_file_system(path):
    """An archive with nothing but a static busybox in it."""
    busybox = shutil.which("busybox")
    if not busybox:
        fail("busybox is missing: run `make deps`")
    with tarfile.open(path, "w") as archive:
        for name in ("bin", "www", "tmp"):
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(entry)
        content = pathlib.Path(os.path.realpath(busybox)).read_bytes()
        entry = tarfile.TarInfo("bin/busybox")
        entry.size, entry.mode = len(content), 0o755
        archive.addfile(entry, io.BytesIO(content))


HTTPD = '["/bin/busybox", "httpd", "-f", "-p", "80", "-h", "/www"]'
# Anything that listens will do.
DATABASE = '["/bin/busybox", "httpd", "-f", "-p", "6379", "-h", "/www"]'


def brickyard_model(ports, edition):
    """`edition` changes the database's definition, which replaces it."""
    lines = ["name: bench", "services:"]
    for number, port in enumerate(ports, 1):
        lines += [
            f"  web{number}:",
            "    image: bench",
            f"    command: {HTTPD}",
            "    stop_signal: KILL",
            f'    ports: ["127.0.0.1:{port}:80"]',
            "    x-brickyard:",
            "      provides: {http: {port: 80, health: tcp}}",
            "      needs: {db: db/redis}",
            "      templates:",
            "        - {src: page.tmpl, dest: /www/index.html, mode: '0644', reload: none}",
        ]
    lines += [
        "  db:",
        "    image: bench",
        f"    command: {DATABASE}",
        "    stop_signal: KILL",
        f"    environment: {{EDITION: '{edition}'}}",
        "    x-brickyard:",
        "      provides: {redis: {port: 6379, health: tcp}}",
        "x-brickyard:",
        "  config: {text: start}",
    ]
    return "\n".join(lines) + "\n"


def docker_model(ports):
    """The same for Docker; it has no templates, and a check as cheap as one can be."""
    # Docker's first check comes after one interval, so a short one is to its advantage.
    check = '{test: [CMD, /bin/busybox, "true"], interval: 100ms}'
    # Version 2.4 is understood by old and new Composes alike, and its file has no name.
    lines = ["version: '2.4'", "services:"]
    for number, port in enumerate(ports, 1):
        lines += [
            f"  web{number}:",
            "    image: brickyard-bench",
            f"    command: {HTTPD}",
            "    stop_signal: KILL",
            f'    ports: ["127.0.0.1:{port}:80"]',
            f"    healthcheck: {check}",
            "    depends_on: [db]",
        ]
    lines += [
        "  db:",
        "    image: brickyard-bench",
        f"    command: {DATABASE}",
        "    stop_signal: KILL",
        f"    healthcheck: {check}",
    ]
    return "\n".join(lines) + "\n"


def run(command):
    """Runs a command and returns its milliseconds and output."""
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_SECONDS * 5)
    took = (time.perf_counter() - started) * 1000.0
    if done.returncode != 0:
        raise RuntimeError(f"`{' '.join(command)}`: {done.returncode}\n{done.stderr[-4000:]}")
    return took, done.stdout


def page(port):
    """What an outside reader gets; nothing while it is not served."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as stream:
            stream.sendall(b"GET / HTTP/1.0\r\n\r\n")
            chunks = []
            while chunk := stream.recv(65536):
                chunks.append(chunk)
    except OSError:
        return ""
    text = b"".join(chunks).decode(errors="replace")
    return text.partition("\r\n\r\n")[2]


def wait_for_page(port, shows):
    """The page that satisfies `shows`, and when it was there."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < deadline:
        text = page(port)
        if shows(text):
            return text, time.time()
        time.sleep(POLL_SECONDS)
    raise RuntimeError(f"port {port}: the page did not come; it is {text!r}")


class Yard:
    """A throw-away yard with the twenty services."""

    def __init__(self, binary, directory):
        self.directory = directory
        self.root = directory / "yard"
        self.file = directory / "compose.yaml"
        self.command = [binary, "--root", str(self.root), "-f", str(self.file)]
        self.ports = free_ports(SERVICES)
        self.edition = 0
        (directory / "page.tmpl").write_text('text={{getv "/text"}} db={{line "db"}}\n')
        self.write()

    def write(self):
        self.file.write_text(brickyard_model(self.ports, self.edition))

    def __call__(self, *arguments):
        return run([*self.command, *arguments])

    def events(self):
        _, lines = self("--json", "events")
        return [json.loads(line) for line in lines.splitlines()]

    def up(self):
        took, _ = self("up", "-d")
        for port in self.ports:
            if "text=" not in page(port):
                raise RuntimeError("`up` returned before every page was served")
        return took

    def set_key(self, text):
        """Milliseconds from the command's start until a reader sees the page, and when it did."""
        port = random.choice(self.ports)
        seen = []
        shows = lambda got: f"text={text} " in got
        reader = threading.Thread(target=lambda: seen.append(wait_for_page(port, shows)[1]))
        reader.start()
        started = time.time()
        self("set", f"text={text}")
        reader.join()
        if not seen:
            raise RuntimeError("the page did not follow the key")
        return (seen[0] - started) * 1000.0, seen[0]

    def replace_database(self):
        """When `up` was typed, and when the last of the dependents served the new address."""
        before = page(self.ports[0]).partition(" db=")[2]
        seen = []

        def watch(port):
            shows = lambda got: " db=" in got and got.partition(" db=")[2] != before
            seen.append(wait_for_page(port, shows))

        readers = [threading.Thread(target=watch, args=(port,)) for port in self.ports]
        for reader in readers:
            reader.start()
        self.edition += 1
        self.write()
        started = time.time()
        self("up", "-d")
        for reader in readers:
            reader.join()
        if len(seen) != SERVICES or len({text for text, _ in seen}) != 1:
            raise RuntimeError(f"{len(seen)} dependents followed: {set(text for text, _ in seen)}")
        return (max(at for _, at in seen) - started) * 1000.0


def event_time(event):
    text = event["time"].replace("Z", "+00:00")
    return datetime.datetime.fromisoformat(text).timestamp()


class Dockerd:
    """A Docker daemon of the bench's own: in a network namespace, so that the host keeps its
    firewall and links, and with all its files in one directory."""

    def __init__(self, directory):
        self.directory = directory / "docker"
        self.directory.mkdir()
        socket_path = self.directory / "docker.sock"
        self.log = (self.directory / "log").open("w")
        daemon = ["dockerd", "--data-root", str(self.directory / "data"),
                  "--exec-root", str(self.directory / "exec"), "-H", f"unix://{socket_path}",
                  "--pidfile", str(self.directory / "pid"), "--bridge", "none"]
        inside = 'ip link set lo up; exec "$@"'
        self.process = subprocess.Popen(["unshare", "--net", "sh", "-c", inside, "sh", *daemon],
                                        stdout=self.log, stderr=self.log)
        os.environ["DOCKER_HOST"] = f"unix://{socket_path}"
        deadline = time.monotonic() + DEADLINE_SECONDS
        while subprocess.run(["docker", "info"], capture_output=True).returncode != 0:
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError((self.directory / "log").read_text()[-2000:])
            time.sleep(0.1)

    @staticmethod
    def reason_against():
        """Why there can be none, if so."""
        tools = ("dockerd", "docker", "docker-compose", "unshare", "ip")
        missing = [tool for tool in tools if not shutil.which(tool)]
        return f"{', '.join(missing)} not installed" if missing else None

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(timeout=DEADLINE_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
        self.log.close()


class Docker:
    """Docker Compose with the same services."""

    def __init__(self, directory):
        self.daemon = Dockerd(directory)
        self.file = directory / "docker-compose.yaml"
        self.file.write_text(docker_model(free_ports(SERVICES)))
        plugin = subprocess.run(["docker", "compose", "version"], capture_output=True)
        tool = ["docker", "compose"] if plugin.returncode == 0 else ["docker-compose"]
        self.command = [*tool, "-p", "brickyard-bench", "-f", str(self.file)]
        # The first Compose cannot wait for health; it then has less to do.
        answers = subprocess.run([*tool, "up", "--help"], capture_output=True, text=True)
        self.wait = ["--wait"] if "--wait" in answers.stdout else []
        run(["docker", "import", str(directory / "root.tar"), "brickyard-bench"])

    def up(self):
        return run([*self.command, "up", "-d", *self.wait])[0]

    def down(self):
        run([*self.command, "down", "-t", "0"])

    def remove(self):
        try:
            self.down()
        finally:
            self.daemon.stop()


def processes(root, binary):
    """Pids of the yard by what they are."""
    found = {}
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
            exe = os.readlink(entry / "exe")
        except OSError:
            continue
        if exe != os.path.realpath(binary) or not any(str(root) in word for word in words):
            continue
        kind = next((w for w in ("__monitor", "__front", "agent") if w in words), "other")
        found.setdefault(kind.strip("_"), []).append(int(entry.name))
    return found


def memory_kib(pid):
    fields = {}
    for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, value = line.split(":")
        fields[name] = int(value.split()[0])
    return fields["Rss"], fields["Pss"]


def cpu_seconds(pid):
    """Of the whole process, by the kernel's clock for it: ticks would be too coarse, and threads that
    have ended count. The clock's number is made as by clock_getcpuclockid(3)."""
    return time.clock_gettime((~pid << 3) | 2)


def idle(root, binary):
    """What the yard costs while nothing happens."""
    found = processes(root, binary)
    watched = [pid for kind in ("agent", "front") for pid in found.get(kind, [])]
    before = {pid: cpu_seconds(pid) for pid in watched}
    time.sleep(IDLE_SECONDS)
    after = {pid: cpu_seconds(pid) for pid in watched}
    result = {"seconds": IDLE_SECONDS}
    for kind, pids in sorted(found.items()):
        memory = [memory_kib(pid) for pid in pids]
        result[kind] = {
            "count": len(pids),
            "rss_kib": max(rss for rss, _ in memory),
            "pss_kib_each": round(sum(pss for _, pss in memory) / len(memory), 1),
        }
        if kind in ("agent", "front"):
            used = sum(after[pid] - before[pid] for pid in pids)
            result[kind]["cpu_percent"] = round(used / IDLE_SECONDS * 100.0, 2)
    return result


def summary(values):
    """Nearest-rank percentiles: a figure that was really measured."""
    ordered = sorted(values)
    rank = lambda share: ordered[max(0, -(-len(ordered) * share // 100) - 1)]
    return {
        "count": len(ordered),
        "median_ms": round(statistics.median(ordered), 1),
        "p50_ms": round(rank(50), 1),
        "p99_ms": round(rank(99), 1),
        "max_ms": round(ordered[-1], 1),
        "values_ms": [round(value, 1) for value in values],
    }


def measure(yard, binary, docker, counts):
    figures = {}
    ups, docker_ups = [], []
    for round_number in range(counts["up"]):
        say(f"up {round_number + 1} of {counts['up']}")
        ups.append(yard.up())
        if docker:
            docker_ups.append(docker.up())
            docker.down()
        if round_number + 1 < counts["up"]:
            yard("down")
    figures["up"] = summary(ups)
    if docker_ups:
        figures["docker up"] = summary(docker_ups)
    say("again, nothing changed")
    figures["again"] = summary([yard("up", "-d")[0] for _ in range(counts["again"])])
    say("keys set")
    results = [yard.set_key(f"v{number}") for number in range(counts["key"])]
    figures["key"] = summary([took for took, _ in results])
    changed = [event for event in yard.events() if event["kind"] == "config.changed"]
    times = [event_time(event) for event in changed[-len(results):]]
    if len(times) == len(results):
        pairs = zip(results, times)
        figures["key, from event"] = summary([(seen - at) * 1000.0 for (_, seen), at in pairs])
    say("dependency replaced")
    figures["replaced"] = summary([yard.replace_database() for _ in range(counts["replaced"])])
    say(f"idle for {IDLE_SECONDS:.0f} s")
    return figures, idle(yard.root, binary)


# What of a figure is held against its bar.
JUDGED = {"up": "median_ms", "again": "median_ms", "key": "p99_ms", "replaced": "max_ms"}
TITLES = {
    "up": f"up -d, {SERVICES} services (median)",
    "docker up": f"docker compose up -d, {SERVICES} services (median)",
    "again": "up -d again, nothing changed (median)",
    "key": "key set -> page (p99, from the command's start)",
    "key, from event": "key set -> page (p99, from the event)",
    "replaced": f"db replaced -> last of {SERVICES} (worst, from `up`)",
}


def report(figures, idle_figures, docker_reason):
    print(f"{'figure':58} {'ms':>9} {'p50':>9} {'max':>9} {'bar':>8}")
    for name, title in TITLES.items():
        figure = figures.get(name)
        if not figure:
            continue
        judged = figure[JUDGED.get(name, "p99_ms" if "key" in name else "median_ms")]
        bar = BARS.get(name)
        verdict = "" if bar is None else ("PASS" if judged <= bar else "MISS")
        limit = "" if bar is None else f"{bar:.0f}"
        print(
            f"{title:58} {judged:9.1f} {figure['p50_ms']:9.1f} {figure['max_ms']:9.1f}"
            f" {limit:>8} {verdict}".rstrip()
        )
    for kind in ("agent", "front", "monitor"):
        if kind in idle_figures:
            figure = idle_figures[kind]
            cpu = f", {figure['cpu_percent']} % of a CPU" if "cpu_percent" in figure else ""
            print(
                f"idle {kind} ({figure['count']}): RSS {figure['rss_kib']} KiB,"
                f" PSS {figure['pss_kib_each']} KiB each{cpu}"
            )
    if "docker up" in figures:
        ratio = figures["docker up"]["median_ms"] / figures["up"]["median_ms"]
        print(f"docker compose takes {ratio:.1f} times as long for `up`")
    if docker_reason:
        print(f"docker: not run ({docker_reason})")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few rounds only")
    parser.add_argument("--json", metavar="FILE", help="write the figures there, too")
    arguments = parser.parse_args()
    binary = find_binary(sys.argv[1:])
    counts = {"up": 5, "again": 10, "key": 50, "replaced": 5, "engine": 40, "confd": 15,
              "model": 11}
    if arguments.quick:
        counts = {"up": 1, "again": 3, "key": 10, "replaced": 1, "engine": 10, "confd": 3,
                  "model": 3}
    base = os.environ.get("BRICKYARD_ROOT")
    docker_reason = Dockerd.reason_against()
    with tempfile.TemporaryDirectory(prefix="brickyard-bench-", dir=base) as name:
        directory = pathlib.Path(name)
        # Instances run as other users, which have to reach their root file systems.
        directory.chmod(0o711)
        root_file_system(directory / "root.tar")
        yard = Yard(binary, directory)
        docker = None if docker_reason else Docker(directory)
        try:
            yard("image", "import", "bench", str(directory / "root.tar"))
            figures, idle_figures = measure(yard, binary, docker, counts)
            engine, engine_reason = bench_engine.measure(
                binary, directory, docker, counts["engine"], say)
            confd = bench_confd.measure(binary, counts["confd"], say)
            model = bench_model.measure(binary, directory, counts["model"], say)
        finally:
            yard("down", "-v")
            if docker:
                docker.remove()
    report(figures, idle_figures, docker_reason)
    bench_engine.report(engine, engine_reason)
    bench_confd.report(confd)
    bench_model.report(model)
    line = json.dumps({"services": SERVICES, "bars_ms": BARS, "figures": figures,
                       "idle": idle_figures, "engine": engine, "model": model,
                       "docker": docker_reason or "run"})
    print(line)
    if arguments.json:
        pathlib.Path(arguments.json).write_text(line + "\n")


if __name__ == "__main__":
    main()
