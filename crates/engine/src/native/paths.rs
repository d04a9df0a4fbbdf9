//! Where everything is and what it is called: all of it derived from the yard's root, so that two
//! yards never meet and a list of names is enough to clean up after a crash.

use brickyard_core::{Digest, VolumeName};
use camino::{Utf8Path, Utf8PathBuf};

use crate::{EnvironmentKey, InstanceId};

/// The directories and names of one yard.
#[derive(Debug, Clone)]
pub(crate) struct Paths {
    root: Utf8PathBuf,
    yard: String,
}

impl Paths {
    /// The names of the yard at `root`, an absolute path.
    pub(crate) fn new(root: &Utf8Path) -> Self {
        let yard = Digest::of(root.as_str()).hex()[..8].to_owned();
        Self { root: root.to_owned(), yard }
    }

    /// The yard's root.
    pub(crate) fn root(&self) -> &Utf8Path {
        &self.root
    }

    /// `brickyard-HASH`, the name of the yard's top cgroup.
    pub(crate) fn yard_cgroup(&self) -> String {
        format!("brickyard-{}", self.yard)
    }

    /// All environments.
    pub(crate) fn environments(&self) -> Utf8PathBuf {
        self.root.join("environments")
    }

    /// One environment.
    pub(crate) fn environment(&self, key: &EnvironmentKey) -> Utf8PathBuf {
        self.environments().join(key.to_string())
    }

    /// What is known of an open environment's network.
    pub(crate) fn facts(&self, key: &EnvironmentKey) -> Utf8PathBuf {
        self.environment(key).join("network.json")
    }

    /// The file over which its network namespace is mounted.
    pub(crate) fn network_namespace(&self, key: &EnvironmentKey) -> Utf8PathBuf {
        self.environment(key).join("netns")
    }

    /// All generations of an environment.
    pub(crate) fn instances(&self, key: &EnvironmentKey) -> Utf8PathBuf {
        self.environment(key).join("instances")
    }

    /// One generation.
    pub(crate) fn instance(&self, id: &InstanceId) -> InstancePaths {
        InstancePaths { dir: self.instances(&id.environment).join(id.key()) }
    }

    /// A named volume; it outlives the environment's network.
    pub(crate) fn volume(&self, key: &EnvironmentKey, name: &VolumeName) -> Utf8PathBuf {
        self.root.join("volumes").join(key.to_string()).join(name.as_str())
    }

    /// The cgroup of an environment, below every hierarchy's mount.
    pub(crate) fn environment_cgroup(&self, key: &EnvironmentKey) -> String {
        format!("{}/{key}", self.yard_cgroup())
    }

    /// The cgroup of a generation, below every hierarchy's mount.
    pub(crate) fn instance_cgroup(&self, id: &InstanceId) -> String {
        format!("{}/{}", self.environment_cgroup(&id.environment), id.key())
    }

    /// The host's end of an environment's link; interface names have at most 15 characters.
    pub(crate) fn host_link(&self, key: &EnvironmentKey) -> String {
        format!("by{}", &Digest::of(format!("{}/{key}", self.root)).hex()[..11])
    }
}

/// The files of one generation.
#[derive(Debug, Clone)]
pub(crate) struct InstancePaths {
    /// Its directory.
    pub(crate) dir: Utf8PathBuf,
}

impl InstancePaths {
    /// What it was asked to run.
    pub(crate) fn request(&self) -> Utf8PathBuf {
        self.dir.join("request.json")
    }

    /// Written when its first process was started; before it exists there is nothing to keep.
    pub(crate) fn started(&self) -> Utf8PathBuf {
        self.dir.join("started.json")
    }

    /// How it ended.
    pub(crate) fn exit(&self) -> Utf8PathBuf {
        self.dir.join("exit.json")
    }

    /// Room for the record of how it ended.
    pub(crate) fn exit_reserve(&self) -> Utf8PathBuf {
        self.dir.join("exit.reserve")
    }

    /// What it wrote to its root file system.
    pub(crate) fn upper(&self) -> Utf8PathBuf {
        self.dir.join("upper")
    }

    /// Overlay's own directory.
    pub(crate) fn work(&self) -> Utf8PathBuf {
        self.dir.join("work")
    }

    /// Where a file system in memory is mounted, in the worker's mount namespace alone: it has the
    /// layers under their numbers and the three below.
    pub(crate) fn shelf(&self) -> Utf8PathBuf {
        self.dir.join("shelf")
    }

    /// Where its root file system is mounted.
    pub(crate) fn rootfs(&self) -> Utf8PathBuf {
        self.shelf().join("rootfs")
    }

    /// The runtime's bundle.
    pub(crate) fn bundle(&self) -> Utf8PathBuf {
        self.shelf().join("bundle")
    }

    /// The runtime's state.
    pub(crate) fn state(&self) -> Utf8PathBuf {
        self.shelf().join("state")
    }

    /// Its output.
    pub(crate) fn log(&self) -> Utf8PathBuf {
        self.dir.join("log")
    }
}
