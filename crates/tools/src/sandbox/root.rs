//! A root folder of its own, which holds nothing but what a tool may see. The way is bubblewrap's: a file system in
//! memory becomes the root, what is shown is taken from the old root, and that is let go of.

use std::{
    ffi::CString,
    fs::Permissions,
    io,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
};

use rustix::{
    fs::StatVfsMountFlags,
    mount::{MountFlags, MountPropagationFlags, UnmountFlags},
};

use super::{
    closing::{Failed, failed},
    plan::{Folder, NOTHING, PACKAGES, Plan, SCRATCH},
};

/// Devices that do nothing but what their names say.
pub(crate) const DEVICES: [&str; 4] = ["/dev/null", "/dev/zero", "/dev/random", "/dev/urandom"];
/// Folders that are links on most systems.
const TOP: [&str; 5] = ["/bin", "/sbin", "/lib", "/lib64", "/lib32"];

fn quiet() -> MountFlags {
    MountFlags::NOSUID | MountFlags::NODEV
}

/// Makes the root and enters it. The process must have a mount namespace of its own.
pub(crate) fn build(plan: &Plan) -> Result<(), Failed> {
    begin().map_err(failed("root"))?;
    for Folder { path, writable } in &plan.folders {
        show(path, path, *writable).map_err(failed(&path.display().to_string()))?;
    }
    if let Some(path) = &plan.packages {
        show(path, Path::new(PACKAGES), false).map_err(failed("packages"))?;
    }
    std::fs::create_dir(inside(Path::new(NOTHING))).map_err(failed(NOTHING))?;
    for path in TOP {
        link_top(Path::new(path)).map_err(failed(path))?;
    }
    for device in DEVICES {
        let path = Path::new(device);
        bind(path, path).map_err(failed(device))?;
    }
    let scratch = inside(Path::new(SCRATCH));
    std::fs::create_dir_all(&scratch).map_err(failed("scratch"))?;
    std::fs::set_permissions(&scratch, Permissions::from_mode(0o777)).map_err(failed("scratch"))?;
    if !Path::new("/new/tmp").exists() {
        symlink(SCRATCH, "/new/tmp").map_err(failed("/tmp"))?;
    }
    enter().map_err(failed("new root"))
}

fn begin() -> io::Result<()> {
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", private)?;
    let options = c"size=1m,nr_inodes=4k,mode=755";
    rustix::mount::mount("tmpfs", "/tmp", "tmpfs", quiet(), options)?;
    rustix::process::chdir("/tmp")?;
    std::fs::create_dir("old")?;
    std::fs::create_dir("new")?;
    rustix::mount::mount_bind("new", "new")?;
    rustix::process::pivot_root(".", "old")?;
    rustix::process::chdir("/")?;
    Ok(())
}

fn enter() -> io::Result<()> {
    rustix::mount::unmount("/old", UnmountFlags::DETACH)?;
    rustix::process::chdir("/new")?;
    rustix::process::pivot_root(".", ".")?;
    rustix::mount::unmount(".", UnmountFlags::DETACH)?;
    rustix::process::chdir("/")?;
    let flags = MountFlags::BIND | MountFlags::RDONLY | quiet();
    rustix::mount::mount_remount("/", flags, c"")?;
    Ok(())
}

/// A file system in memory for the tool's files, as large as it may become.
pub(crate) fn mount_scratch(bytes: u64) -> Result<(), Failed> {
    let options = CString::new(scratch_options(bytes)).map_err(failed("scratch"))?;
    rustix::mount::mount("tmpfs", SCRATCH, "tmpfs", quiet(), options.as_c_str())
        .map_err(failed("scratch"))
}

/// What the kernel is told of the scratch folder.
pub(crate) fn scratch_options(bytes: u64) -> String {
    format!("size={bytes},nr_inodes=4k,mode=700")
}

fn inside(path: &Path) -> PathBuf {
    Path::new("/new").join(path.strip_prefix("/").unwrap_or(path))
}

fn outside(path: &Path) -> PathBuf {
    Path::new("/old").join(path.strip_prefix("/").unwrap_or(path))
}

fn bind(from: &Path, to: &Path) -> io::Result<PathBuf> {
    let (from, to) = (outside(from), inside(to));
    if let Some(parent) = to.parent() {
        std::fs::create_dir_all(parent)?;
    }
    if std::fs::metadata(&from)?.is_dir() {
        std::fs::create_dir_all(&to)?;
    } else {
        std::fs::File::create(&to)?;
    }
    rustix::mount::mount_bind_recursive(&from, &to)?;
    Ok(to)
}

fn show(from: &Path, to: &Path, writable: bool) -> io::Result<()> {
    let to = bind(from, to)?;
    let mut flags = MountFlags::BIND | quiet();
    if !writable {
        flags |= MountFlags::RDONLY;
    }
    // What the file system forbids already must stay forbidden: a user namespace may not change it.
    let held = rustix::fs::statvfs(&to)?.f_flag;
    let kept = [
        (StatVfsMountFlags::RDONLY, MountFlags::RDONLY),
        (StatVfsMountFlags::NOEXEC, MountFlags::NOEXEC),
        (StatVfsMountFlags::NOATIME, MountFlags::NOATIME),
        (StatVfsMountFlags::NODIRATIME, MountFlags::NODIRATIME),
        (StatVfsMountFlags::RELATIME, MountFlags::RELATIME),
    ];
    for (_, flag) in kept.into_iter().filter(|(state, _)| held.contains(*state)) {
        flags |= flag;
    }
    rustix::mount::mount_remount(&to, flags, c"")?;
    Ok(())
}

fn link_top(path: &Path) -> io::Result<()> {
    match std::fs::read_link(outside(path)) {
        Ok(target) if !inside(path).exists() => symlink(target, inside(path)),
        _ => Ok(()),
    }
}
