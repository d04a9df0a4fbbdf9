"""Configuration files kept up to date: `brickyard confd`, beside a real confd where one is on PATH.

etcd is the bench's own. What is compared with the machine itself (files replaced in a loop) is
measured in the same run, as disks differ more than programs do.
"""

import json
import os
import pathlib
import shutil
import signal
import socket
import statistics
import subprocess
import tempfile
import time
import urllib.request
from base64 import b64encode

RESOURCES, KEYS = 1000, 10_000
# What each figure is held against, in milliseconds; see the titles.
BARS = {"env": 2.0, "in sync": 60.0, "keys": 30.0, "answered": 0.5, "create": 1.5, "fan-out": 1.5,
        "peak": 5000, "away": 0.1, "back": 1000.0}
AWAY_S = 20


class Etcd:
    def __init__(self, directory):
        ports = [free_port(), free_port()]
        self.address = f"127.0.0.1:{ports[0]}"
        client, peer = (f"http://127.0.0.1:{port}" for port in ports)
        self.command = [
            "etcd", "--data-dir", str(directory / "etcd"), "--listen-client-urls", client,
            "--advertise-client-urls", client, "--listen-peer-urls", peer,
            "--initial-advertise-peer-urls", peer, "--initial-cluster", f"default={peer}",
            "--max-txn-ops", "1000"]
        self.start()

    def start(self):
        self.process = subprocess.Popen(self.command, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL)
        for _ in range(200):
            try:
                self.put("/ready", "yes")
                return
            except OSError:
                time.sleep(0.05)
        raise RuntimeError("etcd does not answer")

    def ask(self, path, body):
        request = urllib.request.Request(f"http://{self.address}/v3/kv/{path}",
                                         json.dumps(body).encode())
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.read()

    def put(self, key, value):
        self.ask("put", {"key": text(key), "value": text(value)})

    def put_all(self, pairs):
        for at in range(0, len(pairs), 500):
            puts = [{"requestPut": {"key": text(key), "value": text(value)}}
                    for key, value in pairs[at:at + 500]]
            self.ask("txn", {"success": puts})

    def stop(self):
        self.process.terminate()
        self.process.wait()


def text(plain):
    return b64encode(plain.encode()).decode()


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Confdir:
    def __init__(self, path):
        self.path, self.cleared = path, 0
        for name in ("conf.d", "templates", "out"):
            (path / name).mkdir(parents=True)

    def resource(self, name, keys, template):
        (self.path / "conf.d" / f"{name}.toml").write_text(
            f'[template]\nsrc = "{template}"\ndest = "{self.path}/out/{name}"\n'
            f"keys = {json.dumps(keys)}\n")

    def template(self, name, contents):
        (self.path / "templates" / name).write_text(contents)

    def clear(self):
        # Not removed: ext4 looks for a while through inodes that were given back, whoever makes files.
        self.cleared += 1
        (self.path / "out").rename(self.path / f"former{self.cleared}")
        (self.path / "out").mkdir()

    def count(self):
        return len(os.listdir(self.path / "out"))


def timed(command, environment=None):
    started = time.perf_counter()
    subprocess.run(command, check=True, env=environment, stdin=subprocess.DEVNULL,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return (time.perf_counter() - started) * 1000.0


def replace_loop(directory, contents):
    """What the machine needs at least: files written beside their places and renamed."""
    started = time.perf_counter()
    for number in range(RESOURCES):
        temporary = f"{directory}/.f{number}.new"
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        os.write(descriptor, contents)
        os.fchmod(descriptor, 0o644)
        os.fchown(descriptor, os.geteuid(), os.getegid())
        os.close(descriptor)
        os.rename(temporary, f"{directory}/f{number}")
    return (time.perf_counter() - started) * 1000.0


def once(program, confdir, etcd):
    return [*program, "-onetime", "-backend", "etcdv3", "-node", etcd.address, "-log-level", "error",
            "-confdir", str(confdir.path), "-config-file", "/nonexistent"]


def resident(pid):
    with open(f"/proc/{pid}/status", encoding="utf-8") as status:
        fields = dict(line.split(":", 1) for line in status)
    private = int(fields["RssAnon"].split()[0])
    return int(fields["VmRSS"].split()[0]), private, int(fields["Threads"])


def wait_for(holds, seconds=30.0):
    deadline = time.perf_counter() + seconds
    while not holds():
        if time.perf_counter() > deadline:
            raise RuntimeError("it does not happen")
        time.sleep(0)


def content(path):
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""


def watched(program, confdir, etcd, rounds):
    """From the request of a put to the file: milliseconds; memory in kB; all files of one key."""
    command = [argument for argument in once(program, confdir, etcd) if argument != "-onetime"]
    process = subprocess.Popen([*command, "-watch"], stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)
    try:
        single, out = confdir.path / "out" / "single", confdir.path / "out"
        wait_for(lambda: content(single) != b"" and confdir.count() > RESOURCES)
        time.sleep(0.5)
        latencies, after = [], []
        for number in range(rounds):
            value = f"value {number}".encode()
            started = time.perf_counter()
            etcd.put("/single", value.decode())
            answered = time.perf_counter()
            wait_for(lambda: content(single) == value)
            done = time.perf_counter()
            latencies.append((done - started) * 1000.0)
            after.append(max(0.0, (done - answered) * 1000.0))
            time.sleep(0.01)
        memory = resident(process.pid)
        names = [out / f"r{number}" for number in range(RESOURCES)]
        fan_out = []
        for number in range(5):
            floor = confdir.path / f"floor{number}"
            floor.mkdir()
            replace_loop(floor, b"shared 1234567890\n")
            needed = replace_loop(floor, b"shared 1234567891\n")
            time.sleep(0.2)
            started = time.time()
            etcd.put("/shared", f"shared {started}")
            # Who looks meanwhile takes the processor that it is done on: files know their times.
            time.sleep(1.0)
            wait_for(lambda: all(str(started).encode() in content(name) for name in names))
            took = (max(name.stat().st_mtime for name in names) - started) * 1000.0
            fan_out.append((took, took / needed))
        return latencies, after, memory, fan_out
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def peak(program, confdir, environment):
    """The most memory of a run in kB, from one that stays, as what it starts from would count too."""
    process = subprocess.Popen(
        [*program, "-backend", "env", "-interval", "600", "-confdir", str(confdir.path),
         "-log-level", "error", "-config-file", "/nonexistent"],
        env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: content(confdir.path / "out" / "single") != b"")
        time.sleep(0.2)
        with open(f"/proc/{process.pid}/status", encoding="utf-8") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
    finally:
        process.kill()
        process.wait()


def outage(program, confdir, etcd):
    """Of a processor while etcd is away, in percent; milliseconds from its first answer to the file."""
    command = [argument for argument in once(program, confdir, etcd) if argument != "-onetime"]
    process = subprocess.Popen([*command, "-watch"], stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)

    def used():
        with open(f"/proc/{process.pid}/schedstat", encoding="utf-8") as stat:
            return int(stat.read().split()[0]) / 1e9

    try:
        file = confdir.path / "out" / "single"
        wait_for(lambda: content(file) != b"")
        etcd.stop()
        time.sleep(1.0)
        begun, before = time.perf_counter(), used()
        time.sleep(AWAY_S)
        share = 100.0 * (used() - before) / (time.perf_counter() - begun)
        etcd.start()
        began = time.perf_counter()
        etcd.put("/single", f"back {began}")
        wait_for(lambda: content(file) == f"back {began}".encode())
        return share, (time.perf_counter() - began) * 1000.0
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def measure(binary, rounds, say):
    if not shutil.which("etcd"):
        return None
    programs = {"ours": [binary, "confd"]}
    if shutil.which("confd"):
        programs["confd"] = [shutil.which("confd")]
    figures = {}
    with tempfile.TemporaryDirectory(prefix="brickyard-confd-") as name:
        root = pathlib.Path(name)
        etcd = Etcd(root)
        try:
            say("one template from the environment")
            small = Confdir(root / "small")
            small.template("t", 'host={{getv "/db/host"}}\n')
            small.resource("single", ["/db"], "t")
            environment = {"DB_HOST": "h", "PATH": "/usr/bin:/bin"}
            for number in range(rounds):
                for who, program in programs.items():
                    command = [*program, "-onetime", "-backend", "env", "-confdir", str(small.path),
                               "-log-level", "error", "-config-file", "/nonexistent"]
                    figures.setdefault((who, "env"), []).append(timed(command, environment))
            for who, program in programs.items():
                small.clear()
                figures[(who, "peak")] = [peak(program, small, environment)]
            say(f"{RESOURCES} templates, {KEYS} keys")
            etcd.put_all([(f"/r/k{number}", f"value {number}") for number in range(RESOURCES)])
            etcd.put_all([(f"/many/k{number:05}", f"value {number}") for number in range(KEYS)])
            etcd.put("/single", "first")
            etcd.put("/shared", "shared at first")
            many = Confdir(root / "many")
            many.template("r", '{{range gets "/r/*"}}{{.Value}}{{end}}\n')
            for number in range(RESOURCES):
                many.resource(f"r{number}", [f"/r/k{number}"], "r")
            listing = Confdir(root / "listing")
            listing.template("l", '{{range gets "/many/*"}}{{.Key}}={{.Value}}\n{{end}}')
            listing.resource("all", ["/many"], "l")
            for number in range(max(3, rounds // 5)):
                for who, program in programs.items():
                    many.clear()
                    figures.setdefault((who, "create"), []).append(timed(once(program, many, etcd)))
                    figures.setdefault((who, "in sync"), []).append(timed(once(program, many, etcd)))
                    listing.clear()
                    figures.setdefault((who, "keys"), []).append(timed(once(program, listing, etcd)))
                floor = root / f"floor{number}"
                floor.mkdir()
                figures.setdefault(("floor", "create"), []).append(replace_loop(floor, b"value 1234\n"))
            say("watching")
            watch = Confdir(root / "watch")
            watch.template("r", '{{getv "/shared"}}\n')
            watch.template("single", '{{getv "/single"}}')
            for number in range(RESOURCES):
                watch.resource(f"r{number}", ["/shared"], "r")
            watch.resource("single", ["/single"], "single")
            for who, program in programs.items():
                watch.clear()
                found = watched(program, watch, etcd, max(20, rounds))
                figures[(who, "put")], figures[(who, "answered")] = found[0], found[1]
                figures[(who, "memory")] = found[2]
                figures[(who, "fan-out")] = [took for took, _ in found[3]]
                figures[(who, "of the floor")] = [ratio for _, ratio in found[3]]
            say("etcd goes away")
            alone = Confdir(root / "alone")
            alone.template("single", '{{getv "/single"}}')
            alone.resource("single", ["/single"], "single")
            for who, program in programs.items():
                alone.clear()
                share, back = outage(program, alone, etcd)
                figures[(who, "away")], figures[(who, "back")] = [share], [back]
        finally:
            etcd.stop()
    return figures


def report(figures):
    if figures is None:
        print("confd: not run (etcd is not installed)")
        return
    middle = {key: statistics.median(values) for key, values in figures.items() if key[1] != "memory"}

    def line(title, value, bar=None):
        verdict = "" if bar is None else ("PASS" if value <= bar else "MISS")
        limit = "" if bar is None else f"{bar:g}"
        print(f"{title:58} {value:9.2f} {'':9} {'':9} {limit:>8} {verdict}".rstrip())

    floor = middle[("floor", "create")]
    for who in ("ours", "confd"):
        if (who, "env") not in middle:
            print("confd itself: not run (none is on PATH)")
            continue
        of = {what: middle[(who, what)] for what in
              ("env", "peak", "create", "in sync", "keys", "put", "answered", "fan-out", "away", "back")}
        bars = BARS if who == "ours" else {}
        print(f"{who}:")
        line("  onetime, env, one template (ms)", of["env"], bars.get("env"))
        line("    resident at most (kB)", of["peak"], bars.get("peak"))
        line(f"  onetime, etcd, {RESOURCES} templates in sync (ms)", of["in sync"], bars.get("in sync"))
        line("  the same, all created (ms)", of["create"])
        line("    of files replaced in a loop", of["create"] / floor, bars.get("create"))
        line(f"  onetime, etcd, one template of {KEYS} keys (ms)", of["keys"], bars.get("keys"))
        line("  watch: put -> file (ms)", of["put"])
        line("    from etcd's answer to the put", of["answered"], bars.get("answered"))
        line(f"  watch: one key -> {RESOURCES} files (ms)", of["fan-out"])
        line("    of files replaced in a loop", middle[(who, "of the floor")], bars.get("fan-out"))
        line(f"  etcd away for {AWAY_S} s: of a processor (%)", of["away"], bars.get("away"))
        line("    from its first answer to the file (ms)", of["back"], bars.get("back"))
        resident_kb, private_kb, threads = figures[(who, "memory")]
        print(f"  watching {RESOURCES + 1} templates: {resident_kb} kB resident, {private_kb} kB its own, {threads} threads")
    line(f"files replaced in a loop, {RESOURCES} (ms)", floor)


if __name__ == "__main__":
    import sys
    report(measure(sys.argv[1], 15, lambda words: print(words, file=sys.stderr)))
