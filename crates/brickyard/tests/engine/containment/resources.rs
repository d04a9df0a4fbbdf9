//! Bombs and crashes: the container's own affair.

use brickyard_engine::Engine;

use super::{Cell, outside};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fork_bomb_ends_at_its_limit_and_is_removed() {
    let cell = Cell::new().await;
    let neighbour = cell.bench.request("neighbour", &["sleep", "1000"]);
    cell.bench.engine.start(&neighbour).await.unwrap();
    let forks = cell.inside(&["forks"]).await;
    let count = forks[0].strip_prefix("ok ").and_then(|rest| rest.strip_suffix(" EAGAIN"));
    let count: u64 = count.unwrap_or_else(|| panic!("{forks:?}")).parse().unwrap();
    // The first process, the probe itself and the helper that waits for it count, too.
    assert!((32..64).contains(&count), "{count}");
    let left = cell.bench.engine.usage(&cell.id).await.unwrap().pids;
    assert!((count..=64).contains(&left), "{left}");
    let request = brickyard_engine::ExecRequest::of(&["true".to_owned()]);
    assert_eq!(cell.bench.engine.exec(&neighbour.id, &request).await.unwrap().code, 0);
    cell.bench.engine.remove(&cell.id).await.unwrap();
    assert!(!cell.bench.cgroup(&cell.id).exists());
    cell.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_memory_bomb_ends_alone() {
    let cell = Cell::with(|_, request| {
        request.spec.argv = vec!["tail".to_owned(), "/dev/zero".to_owned()];
        request.spec.limits.memory_bytes = Some(16 << 20);
    })
    .await;
    let neighbour = cell.bench.request("neighbour", &["sleep", "1000"]);
    cell.bench.engine.start(&neighbour).await.unwrap();
    let exit = cell.bench.engine.wait(&cell.id).await.unwrap();
    assert_eq!((exit.code, exit.oom), (137, true));
    let request = brickyard_engine::ExecRequest::of(&["true".to_owned()]);
    assert_eq!(cell.bench.engine.exec(&neighbour.id, &request).await.unwrap().code, 0);
    cell.end().await;
}

/// The machine's pattern says where cores go. A plain name is in the container's own directory; a
/// program of the machine's that takes cores runs outside, which `docs/security.md` says.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_core_stays_inside() {
    let cell = Cell::new().await;
    let script = "mkdir /tmp/core; cd /tmp/core; ulimit -c unlimited; /probe crash; echo code $?";
    let said = cell.sh(script).await;
    assert!(said.ends_with("code 134"), "{said}");
    let pattern = std::fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap();
    let is_plain = !pattern.starts_with(['|', '/']);
    let files = cell.sh("ls /tmp/core").await;
    assert_eq!(files.is_empty(), !is_plain, "pattern {pattern}, files {files}");
    // Our own helpers leave no core, whatever ends them: nothing of the machine's root gets out.
    assert_eq!(outside(&["read:core"]), ["ENOENT"]);
    cell.end().await;
}
