//! Names that are looked up: a name server of our own, which only the command is told of.

use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use brickyard_testkit::Etcd;

use crate::support::{Confdir, Run};

/// Answers the questions that it has an answer for; the others have none.
const NAME_SERVER: &str = r#"
import socket, struct, sys
def name(text):
    return b"".join(bytes([len(p)]) + p.encode() for p in text.strip(".").split(".")) + b"\0"
def srv(priority, weight, port, target):
    return (33, struct.pack("!HHH", priority, weight, port) + name(target))
records = {
    ("web.test", 1): [(1, bytes([10, 0, 0, 2])), (1, bytes([10, 0, 0, 1]))],
    ("web.test", 28): [(28, socket.inet_pton(socket.AF_INET6, "fd00::1"))],
    ("_http._tcp.web.test", 33): [srv(20, 5, 8080, "b.test"), srv(10, 5, 80, "a.test")],
    ("_etcdv3._tcp.test", 33): [srv(1, 1, int(sys.argv[1]), "localhost")],
}
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("127.53.0.53", 53))
print("ready", flush=True)
while True:
    question, peer = server.recvfrom(4096)
    at, parts = 12, []
    while question[at]:
        parts.append(question[at + 1 : at + 1 + question[at]].decode())
        at += 1 + question[at]
    kind = struct.unpack("!H", question[at + 1 : at + 3])[0]
    found = records.get((".".join(parts).lower(), kind), [])
    known = any(".".join(parts).lower() == name for name, _ in records)
    flags = 0x8580 if found or known else 0x8583
    answer = question[:2] + struct.pack("!HHHHH", flags, 1, len(found), 0, 0) + question[12 : at + 5]
    for kind, data in found:
        answer += b"\xc0\x0c" + struct.pack("!HHIH", kind, 1, 60, len(data)) + data
    server.sendto(answer, peer)
"#;

/// Runs the command where only our name server is asked: `/etc/resolv.conf` is another file for it.
fn run(confdir: &Confdir, etcd_port: u16, flags: &[&str]) -> Run {
    confdir.write("names.py", NAME_SERVER);
    confdir.write("resolv.conf", "nameserver 127.53.0.53\noptions timeout:1\n");
    let script = "#!/bin/sh\nset -e\ncd \"$1\"; port=$2; shift 2\n\
        mount --bind resolv.conf /etc/resolv.conf\n\
        rm -f ready; touch ready; python3 names.py \"$port\" >ready & server=$!\n\
        until grep -q ready ready; do kill -0 $server || exit 9; sleep 0.01; done\n\
        set +e; \"$@\"; code=$?; kill $server; exit $code\n";
    confdir.write("run.sh", script);
    let path = confdir.path("run.sh");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("it is ours");
    let mut command = Command::new("unshare");
    command.args(["--mount", path.as_str(), confdir.path("").as_str(), &etcd_port.to_string()]);
    command.arg(env!("CARGO_BIN_EXE_brickyard")).arg("confd");
    command.args(["-confdir", confdir.path("").as_str(), "-onetime"]).args(flags);
    command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    Run::of(command.stdin(Stdio::null()).output().expect("unshare is installed"))
}

#[test]
fn lookups_ask_the_name_server_and_failures_are_empty() {
    let etcd = Etcd::start();
    let confdir = Confdir::new();
    let template = "{{join (lookupIP \"web.test\") \",\"}} {{join (lookupIPV4 \"web.test\") \",\"}} \
        {{join (lookupIPV6 \"web.test\") \",\"}} {{len (lookupIP \"absent.test\")}}\n\
        {{range lookupSRV \"http\" \"tcp\" \"web.test\"}}{{.Target}}:{{.Port}} {{.Priority}} \
        {{.Weight}};{{end}} {{len (lookupSRV \"no\" \"tcp\" \"web.test\")}}\n";
    confdir.resource("a", template, "");
    run(&confdir, etcd.port(), &["-backend", "env"]).ends(0);
    let expected = "10.0.0.1,10.0.0.2,fd00::1 10.0.0.1,10.0.0.2 fd00::1 0\n\
        a.test.:80 10 5;b.test.:8080 20 5; 0\n";
    assert_eq!(confdir.read("out/a"), expected);
    // SRV records name the servers, which count more than those that are given.
    etcd.put("/k", "of etcd");
    confdir.resource("a", "{{getv \"/k\"}}", "");
    let flags = ["-backend", "etcdv3", "-node", "127.0.0.1:1", "-srv-domain", "test"];
    let ended = run(&confdir, etcd.port(), &flags).ends(0);
    assert_eq!(confdir.read("out/a"), "of etcd");
    ended.says(&format!("INFO Backend source(s) set to http://localhost:{}", etcd.port()));
    let flags = ["-backend", "etcdv3", "-srv-record", "_etcdv3._tcp.test."];
    run(&confdir, etcd.port(), &flags).ends(0);
}
