//! What the users that tools run as can get to. Where there are no namespaces, the tools of a server that is root run as
//! users of their own, and folders of root's, its home among them, are closed to these.

use std::{
    fs::{DirEntry, File, Metadata},
    io,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

use super::{Layer, Layers, Settings, packages::make_open};

/// What the permissions of a file must let everybody do to it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Use {
    /// Get to what is below it by its name.
    Enter,
    /// Read it: a file, or a folder with the names in it.
    Read,
    /// Run it, as what reads its own file does.
    Run,
}

impl Use {
    /// The bits for everybody of [`std::os::unix::fs::PermissionsExt::mode`].
    fn bits(self, is_folder: bool) -> u32 {
        match (self, is_folder) {
            (Self::Enter, _) => 0o1,
            (Self::Read, false) => 0o4,
            (Self::Read, true) | (Self::Run, _) => 0o5,
        }
    }
}

/// Whether tools run as users of their own.
pub(crate) fn is_needed(namespaces: bool) -> bool {
    rustix::process::geteuid().is_root() && !namespaces
}

/// The file or folder on the way to a path that is closed to others; none when they can use the path. The way is that of
/// the name, which programs use, and that of where its links lead. What is not there yet is as open as the folder in which
/// it will be made.
pub(crate) fn closed(path: &Path, wanted: Use) -> Option<PathBuf> {
    let named = std::path::absolute(path).ok()?;
    let there = named.ancestors().find(|part| part.exists())?;
    let real = there.canonicalize().ok()?;
    let is_whole = there == named;
    [there, &real].into_iter().find_map(|way| {
        way.ancestors().find_map(|part| {
            let found = part.metadata().ok()?;
            let wanted = if is_whole && part == way {
                wanted
            } else {
                Use::Enter
            };
            let bits = wanted.bits(found.is_dir());
            (found.permissions().mode() & bits != bits).then(|| part.to_owned())
        })
    })
}

/// What of the places of a sandbox was changed so that tools can get to them.
#[derive(Debug, Default)]
pub(crate) struct Reach {
    /// Why calls can't have their files; none when they can.
    pub(crate) closed: Option<String>,
    /// Locked as long as this process has its scratch folder where others make theirs.
    _own: Option<File>,
}

/// The settings with folders for scratch and packages that tools can get to.
pub(crate) fn within_reach(mut settings: Settings, layers: &Layers) -> (Settings, Reach) {
    if !is_needed(layers.has(Layer::Namespaces)) {
        return (settings, Reach::default());
    }
    let mut reach = Reach::default();
    if let Some(closed) = closed_program(&settings.program) {
        reach.closed = Some(closed);
    } else if let Some(closed) = closed(&settings.scratch, Use::Enter)
        .or_else(|| self::closed(&settings.packages, Use::Enter))
    {
        let open = &settings.open;
        match own_place(open) {
            Ok((scratch, lock)) => {
                tracing::info!(
                    "tools have their files and packages in {}: they run as users of their own, who can't enter {}",
                    open.display(),
                    closed.display()
                );
                settings.packages = open.join("packages");
                settings.scratch = scratch;
                reach._own = Some(lock);
            }
            Err(error) => {
                let (closed, open) = (closed.display(), open.display());
                reach.closed = Some(format!(
                    "tools run as users of their own here, who can't enter {closed}, and their files can't be in {open}: {error}"
                ));
            }
        }
    }
    if let Some(reason) = &reach.closed {
        tracing::warn!("tools can't run: {reason}");
    }
    (settings, reach)
}

/// Why the server's own program, which keeps calls, can't be started by them. They name it by a way on which no folder is
/// entered.
fn closed_program(program: &Path) -> Option<String> {
    let mode = program.metadata().ok()?.permissions().mode();
    (mode & 0o1 == 0).then(|| {
        format!(
            "tools run as users of their own here, and {} can be run by its owner alone (mode {:o})",
            program.display(),
            mode & 0o777
        )
    })
}

/// A new folder for scratch files below one that everybody can enter, and its lock. Folders of processes that are gone
/// are deleted.
fn own_place(open: &Path) -> io::Result<(PathBuf, File)> {
    make_open(open)?;
    for part in open.ancestors().take(2) {
        trusted(part, &part.symlink_metadata()?)?;
    }
    if let Some(closed) = closed(open, Use::Enter) {
        let text = format!("not everybody can enter {}", closed.display());
        return Err(io::Error::other(text));
    }
    for entry in std::fs::read_dir(open)?.flatten() {
        let path = entry.path();
        let is_scratch = entry
            .file_name()
            .as_encoded_bytes()
            .starts_with(b"scratch-");
        if is_scratch && File::open(path.join(LOCK)).is_ok_and(|file| file.try_lock().is_ok()) {
            std::fs::remove_dir_all(&path)?;
        } else if is_scratch && !path.join(LOCK).exists() && is_old(&entry) {
            // Deleted and made anew while a process used it, which makes it again if it still does. Not one with files.
            let _ = std::fs::remove_dir(&path);
        }
    }
    let made = tempfile::Builder::new()
        .prefix("scratch-")
        .permissions(std::fs::Permissions::from_mode(0o711))
        .tempdir_in(open)?;
    // A strict umask would close it.
    std::fs::set_permissions(made.path(), std::fs::Permissions::from_mode(0o711))?;
    let lock = File::create(made.path().join(LOCK))?;
    lock.lock()?;
    Ok((made.keep(), lock))
}

/// Whether a folder was changed some time ago: a new one is about to get its lock.
fn is_old(entry: &DirEntry) -> bool {
    let changed = entry.metadata().and_then(|found| found.modified());
    changed.is_ok_and(|at| {
        at.elapsed()
            .is_ok_and(|since| since > Duration::from_secs(60))
    })
}

/// In a folder for scratch files: locked by the process that has it.
const LOCK: &str = ".lock";

/// Files of root's are made and deleted in a folder only if nobody else could put something else in its place.
fn trusted(path: &Path, found: &Metadata) -> io::Result<()> {
    let reason = if !found.is_dir() {
        "is not a folder"
    } else if found.uid() != rustix::process::geteuid().as_raw() {
        "is somebody else's"
    } else if found.mode() & 0o022 != 0 && found.mode() & 0o1000 == 0 {
        "can be changed by others"
    } else {
        return Ok(());
    };
    Err(io::Error::other(format!("{} {reason}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(path: &Path, mode: u32) {
        std::fs::create_dir_all(path).expect("a folder");
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("its mode");
    }

    fn base() -> tempfile::TempDir {
        let base = tempfile::tempdir_in("/var/tmp").expect("a folder");
        made(base.path(), 0o755);
        base
    }

    #[test]
    fn what_closes_a_path_to_others_is_named() {
        let base = base();
        let base = base.path();
        for (mode, wanted, is_open) in [
            (0o755, Use::Read, true),
            (0o711, Use::Enter, true),
            (0o711, Use::Read, false),
            (0o750, Use::Enter, false),
        ] {
            made(&base.join("folder"), mode);
            let found = closed(&base.join("folder"), wanted);
            let expected = (!is_open).then(|| base.join("folder"));
            assert_eq!(found, expected, "{mode:o} {wanted:?}");
        }
        made(&base.join("folder/inner"), 0o755);
        let found = closed(&base.join("folder/inner"), Use::Enter);
        assert_eq!(found, Some(base.join("folder")), "a folder above it");
        let found = closed(&base.join("folder/not/there"), Use::Read);
        assert_eq!(found, Some(base.join("folder")), "where it will be");
        made(&base.join("folder"), 0o711);
        assert_eq!(closed(&base.join("folder/not/there"), Use::Read), None);
        assert_eq!(closed(&base.join("folder/inner"), Use::Read), None);
    }

    #[test]
    fn a_link_is_as_closed_as_its_way_and_as_where_it_leads() {
        let base = base();
        let (open, private) = (base.path().join("open"), base.path().join("private"));
        made(&open, 0o755);
        made(&private, 0o700);
        let link = |from: &Path, to: &Path| std::os::unix::fs::symlink(to, from).expect("a link");
        link(&private.join("out"), &open);
        link(&open.join("in"), &private);
        assert_eq!(
            closed(&private.join("out"), Use::Enter),
            Some(private.clone())
        );
        assert_eq!(closed(&open.join("in"), Use::Read), Some(open.join("in")));
    }

    #[test]
    fn a_program_is_run_and_not_entered() {
        let base = base();
        let program = base.path().join("python3");
        std::fs::write(&program, "").expect("a file");
        for (mode, is_open) in [
            (0o755, true),
            (0o744, false),
            (0o700, false),
            (0o711, false),
        ] {
            let permissions = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(&program, permissions).expect("its mode");
            assert_eq!(closed(&program, Use::Run).is_none(), is_open, "{mode:o}");
        }
        assert!(closed_program(&program).is_none());
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o700)).expect("a mode");
        assert!(closed_program(&program).is_some_and(|reason| reason.contains("700")));
    }

    #[test]
    fn each_process_has_a_place_of_its_own_and_those_of_dead_ones_are_deleted() {
        let base = base();
        let open = base.path().join("mnemic/0123");
        let (dead, lock) = own_place(&open).expect("a place");
        std::fs::write(dead.join("left"), "").expect("a file");
        let (living, held) = own_place(&open).expect("another");
        assert!(dead.exists() && living.exists() && dead != living);
        drop(lock);
        let (newest, _also) = own_place(&open).expect("a third");
        assert!(!dead.exists() && living.exists() && newest.exists());
        assert_eq!(closed(&living.join("call"), Use::Enter), None);
        drop(held);
        // What a process made again after somebody had emptied the folder has no lock.
        let (fresh, old) = (open.join("scratch-fresh"), open.join("scratch-old"));
        for path in [&fresh, &old] {
            made(path, 0o755);
        }
        let hour = std::time::SystemTime::now() - Duration::from_secs(3600);
        File::open(&old)
            .and_then(|file| file.set_modified(hour))
            .expect("its time");
        own_place(&open).expect("a fourth");
        assert!(fresh.exists() && !old.exists());
    }

    #[test]
    fn a_place_that_others_could_change_or_that_is_closed_is_not_used() {
        let base = base();
        let open = base.path().join("mnemic/0123");
        let victim = base.path().join("victim");
        made(&victim.join("scratch-of-mine"), 0o755);
        std::fs::write(victim.join("scratch-of-mine").join(LOCK), "").expect("a file");
        made(&base.path().join("mnemic"), 0o755);
        std::os::unix::fs::symlink(&victim, &open).expect("a link");
        let refused = own_place(&open).expect_err("a link").to_string();
        assert!(refused.ends_with("is not a folder"), "{refused}");
        assert!(victim.join("scratch-of-mine").exists());
        std::fs::remove_file(&open).expect("gone");
        for (mode, reason) in [
            (0o777, "can be changed by others"),
            (0o700, "not everybody can enter"),
        ] {
            made(&open, mode);
            let refused = own_place(&open).expect_err("refused").to_string();
            assert!(refused.contains(reason), "{refused}");
        }
    }
}
