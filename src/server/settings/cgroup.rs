//! The memory limit that the control group of this process has: of Linux, of both versions.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// What version 1 shows where there is no limit is above this.
const UNLIMITED: u64 = 1 << 60;

/// Returns the smallest limit of the group of this process and the groups above it, in bytes; `None` if none of them has a limit. `root` is `/` but
/// in tests.
///
/// # Errors
///
/// `/proc` cannot be read, or no control group with a memory limit is mounted.
pub(crate) fn memory_limit(root: &Path) -> io::Result<Option<u64>> {
    let groups = fs::read_to_string(root.join("proc/self/cgroup"))?;
    let mounts = fs::read_to_string(root.join("proc/self/mountinfo"))?;
    let dirs: Vec<(PathBuf, PathBuf)> = mounts.lines().filter_map(|line| own_group(root, line, &groups)).collect();
    if dirs.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "no control group for memory is mounted"));
    }
    let limits = dirs.iter().flat_map(|(mount, group)| group.ancestors().take_while(move |dir| dir.starts_with(mount)));
    Ok(limits.filter_map(limit_of).min())
}

/// The mount point and the directory of this process's group, if the line of `mountinfo` is a mount of memory groups.
fn own_group(root: &Path, line: &str, groups: &str) -> Option<(PathBuf, PathBuf)> {
    let (mount, system) = line.split_once(" - ")?;
    let mut mount = mount.split(' ').skip(3);
    let (top, at) = (mount.next()?, mount.next()?);
    let mut system = system.split(' ');
    let kind = system.next()?;
    let is_ours: fn(&str) -> bool = match kind {
        "cgroup2" => str::is_empty,
        "cgroup" if system.nth(1)?.split(',').any(|option| option == "memory") => {
            |controllers| controllers.split(',').any(|controller| controller == "memory")
        }
        _ => return None,
    };
    let group = groups.lines().find_map(|line| {
        let (controllers, group) = line.split_once(':')?.1.split_once(':')?;
        is_ours(controllers).then_some(group)
    })?;
    let mount = root.join(at.trim_start_matches('/'));
    // A container may see only its own group: then that is the mount.
    let below = Path::new(group).strip_prefix(top).unwrap_or(Path::new(""));
    let dir = mount.join(below);
    Some(if dir.is_dir() { (mount, dir) } else { (mount.clone(), mount) })
}

fn limit_of(dir: &Path) -> Option<u64> {
    let files = ["memory.max", "memory.limit_in_bytes"];
    let limits = files.iter().filter_map(|file| fs::read_to_string(dir.join(file)).ok()?.trim().parse().ok());
    limits.filter(|limit| *limit < UNLIMITED).min()
}

#[cfg(test)]
#[cfg(feature = "testing")]
mod tests {
    use super::*;

    /// A directory with these files.
    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    const V2: &str = "31 23 0:27 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n";
    const V1: &str = "22 21 0:20 / /proc rw - proc proc rw\n\
        33 24 0:28 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
        34 24 0:29 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";

    #[test]
    fn version_2_takes_the_smallest_limit_of_the_group_and_those_above_it() {
        let root = tree(&[
            ("proc/self/cgroup", "0::/kubepods/pod7/worker\n"),
            ("proc/self/mountinfo", V2),
            ("sys/fs/cgroup/cgroup.procs", ""),
            ("sys/fs/cgroup/kubepods/memory.max", "max\n"),
            ("sys/fs/cgroup/kubepods/pod7/memory.max", "67108864\n"),
            ("sys/fs/cgroup/kubepods/pod7/worker/memory.max", "536870912\n"),
        ]);
        assert_eq!(memory_limit(root.path()).unwrap(), Some(64 << 20));
    }

    #[test]
    fn version_1_is_found_by_its_controller() {
        let root = tree(&[
            ("proc/self/cgroup", "9:name=systemd:/x\n5:cpu,cpuacct:/\n4:memory:/app/7\n0::/\n"),
            ("proc/self/mountinfo", V1),
            ("sys/fs/cgroup/memory/app/7/memory.limit_in_bytes", "134217728\n"),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
        ]);
        assert_eq!(memory_limit(root.path()).unwrap(), Some(128 << 20));
    }

    #[test]
    fn a_container_whose_mount_is_its_own_group_is_read_at_the_mount() {
        let mount = "34 24 0:29 /docker/ab12 /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n";
        let root = tree(&[
            ("proc/self/cgroup", "4:memory:/docker/ab12\n"),
            ("proc/self/mountinfo", mount),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "134217728\n"),
        ]);
        assert_eq!(memory_limit(root.path()).unwrap(), Some(128 << 20));
        // The path names a group that the container does not see.
        fs::write(root.path().join("proc/self/cgroup"), "4:memory:/elsewhere\n").unwrap();
        assert_eq!(memory_limit(root.path()).unwrap(), Some(128 << 20));
    }

    #[test]
    fn no_limit_is_none_and_what_cannot_be_read_is_an_error() {
        let root =
            tree(&[("proc/self/cgroup", "0::/\n"), ("proc/self/mountinfo", V2), ("sys/fs/cgroup/cgroup.procs", "")]);
        assert_eq!(memory_limit(root.path()).unwrap(), None);
        fs::write(root.path().join("proc/self/mountinfo"), "22 21 0:20 / /proc rw - proc proc rw\n").unwrap();
        assert!(memory_limit(root.path()).is_err(), "nothing is mounted");
        assert!(memory_limit(tree(&[]).path()).is_err(), "there is no /proc");
    }
}
