//! Throw-away native engines with a busybox layer.

use std::os::unix::fs::{PermissionsExt, symlink};

use brickyard_core::spec::{InstanceSpec, Limits, Stop};
use brickyard_core::{Digest, Generation, Slot};
use brickyard_engine::native::Native;
use brickyard_engine::{Engine, EnvironmentFacts, EnvironmentKey, InstanceId, StartRequest};
use camino::{Utf8Path, Utf8PathBuf};

/// Commands that the layer has, all of them busybox.
const APPLETS: &[&str] =
    &["sh", "sleep", "cat", "id", "true", "touch", "ls", "tail", "dd", "mount"];

/// A native engine in a root of its own with one open environment.
pub(crate) struct Bench {
    pub(crate) engine: Native,
    pub(crate) key: EnvironmentKey,
    pub(crate) facts: EnvironmentFacts,
    pub(crate) root: Utf8PathBuf,
    _directory: tempfile::TempDir,
}

pub(crate) fn binary() -> &'static Utf8Path {
    Utf8Path::new(env!("CARGO_BIN_EXE_brickyard"))
}

/// Makes a layer with busybox at `path`.
pub(crate) fn make_layer(path: &Utf8Path) {
    std::fs::create_dir_all(path.join("bin")).unwrap();
    std::fs::create_dir_all(path.join("etc")).unwrap();
    std::fs::write(path.join("etc/passwd"), "root:x:0:0::/:/bin/sh\nweb:x:33:33::/:/bin/sh\n")
        .unwrap();
    std::fs::copy("/bin/busybox", path.join("bin/busybox"))
        .expect("/bin/busybox is there (package busybox-static)");
    for name in APPLETS {
        symlink("busybox", path.join("bin").join(name)).unwrap();
    }
}

impl Bench {
    pub(crate) async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o711)).unwrap();
        let root = Utf8PathBuf::from_path_buf(directory.path().to_owned()).unwrap();
        make_layer(&root.join("layer"));
        let engine = Native::open(&root, binary()).unwrap();
        let key = EnvironmentKey {
            system: "bench".parse().unwrap(),
            environment: "dev".parse().unwrap(),
        };
        let facts = engine.open_environment(&key).await.unwrap();
        Self { engine, key, facts, root, _directory: directory }
    }

    pub(crate) fn request(&self, service: &str, argv: &[&str]) -> StartRequest {
        let mut request = request(&self.key, service, argv);
        request.layers = vec![self.root.join("layer")];
        let at = service.bytes().map(usize::from).sum::<usize>() % 200;
        request.address = self.facts.addresses().nth(at);
        request
    }

    /// The cgroup directory of an instance in the unified hierarchy.
    pub(crate) fn cgroup(&self, id: &InstanceId) -> Utf8PathBuf {
        let yard = &Digest::of(self.root.as_str()).hex()[..8];
        let unified = match Utf8Path::new("/sys/fs/cgroup/unified").exists() {
            true => "/sys/fs/cgroup/unified",
            false => "/sys/fs/cgroup",
        };
        format!("{unified}/brickyard-{yard}/{}/{}", self.key, id.key()).into()
    }

    /// Takes everything away and checks that nothing is left.
    pub(crate) async fn end(self) {
        for known in self.engine.list().await.unwrap() {
            self.engine.remove(&known.id).await.unwrap();
        }
        self.engine.close_environment(&self.key).await.unwrap();
        self.engine.close().unwrap();
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!mounts.contains(self.root.as_str()), "{mounts}");
        let yard = format!("brickyard-{}", &Digest::of(self.root.as_str()).hex()[..8]);
        for hierarchy in std::fs::read_dir("/sys/fs/cgroup").unwrap() {
            let left = hierarchy.unwrap().path().join(&yard);
            assert!(!left.exists(), "{} is left", left.display());
        }
    }
}

pub(crate) fn request(key: &EnvironmentKey, service: &str, argv: &[&str]) -> StartRequest {
    StartRequest {
        id: InstanceId {
            environment: key.clone(),
            service: service.parse().unwrap(),
            slot: Slot(1),
            generation: Generation(1),
        },
        spec: InstanceSpec {
            image: Digest::of("image"),
            argv: argv.iter().map(ToString::to_string).collect(),
            environment: std::collections::BTreeMap::new(),
            working_dir: "/".into(),
            user: String::new(),
            hostname: String::new(),
            mounts: Vec::new(),
            read_only: false,
            cap_add: Vec::new(),
            cap_drop: Vec::new(),
            limits: Limits { memory_bytes: None, cpu_millis: None, pids_max: 64 },
            stop: Stop { signal: "KILL".to_owned(), grace_ms: 1000 },
            labels: std::collections::BTreeMap::new(),
        },
        layers: Vec::new(),
        address: None,
        files: Vec::new(),
        hostname: "test".to_owned(),
    }
}
