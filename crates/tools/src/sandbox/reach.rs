//! What the users that tools run as can get to. Where there are no namespaces, the tools of a server that is root run as
//! users of their own, and folders of root's, its home among them, are closed to these.

use std::{
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use super::{Layer, Layers, Settings, packages::make_open};

/// What the permissions of a file must let everybody do to it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Use {
    /// Get to what is below it by its name.
    Enter,
    /// Read it: a file, or a folder with the names in it.
    Read,
}

impl Use {
    /// The bits of [`std::os::unix::fs::PermissionsExt::mode`] for everybody.
    fn bits(self, is_folder: bool) -> u32 {
        match (self, is_folder) {
            (Self::Enter, _) => 0o1,
            (Self::Read, false) => 0o4,
            (Self::Read, true) => 0o5,
        }
    }
}

/// Whether tools run as users of their own.
pub(crate) fn is_needed(namespaces: bool) -> bool {
    rustix::process::geteuid().is_root() && !namespaces
}

/// The file or folder on the way to a path that is closed to others; none when they can use the path. What is not there
/// yet is as open as the folder in which it will be made.
pub(crate) fn closed(path: &Path, wanted: Use) -> Option<PathBuf> {
    let there = path.ancestors().find_map(|part| part.canonicalize().ok())?;
    let is_whole = path.exists();
    there.ancestors().find_map(|part| {
        let found = part.metadata().ok()?;
        let wanted = if is_whole && part == there {
            wanted
        } else {
            Use::Enter
        };
        let bits = wanted.bits(found.is_dir());
        (found.permissions().mode() & bits != bits).then(|| part.to_owned())
    })
}

/// The settings with folders for scratch and packages that tools can get to.
pub(crate) fn within_reach(mut settings: Settings, layers: &Layers) -> Settings {
    if !is_needed(layers.has(Layer::Namespaces)) {
        return settings;
    }
    let open = settings.open.clone();
    for (folder, name) in [
        (&mut settings.scratch, "scratch"),
        (&mut settings.packages, "packages"),
    ] {
        let Some(closed) = closed(folder, Use::Enter) else {
            continue;
        };
        let instead = open.join(name);
        let (closed, path) = (closed.display(), instead.display());
        match make_open(&instead) {
            Ok(()) => tracing::info!(
                "tools have their {name} in {path}: they run as users of their own, who can't enter {closed}"
            ),
            Err(error) => tracing::warn!(
                "tools run as users of their own, who can't enter {closed}, and {path} can't be made for their {name}: {error}"
            ),
        }
        *folder = instead;
    }
    settings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(path: &Path, mode: u32) {
        std::fs::create_dir_all(path).expect("a folder");
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("its mode");
    }

    #[test]
    fn what_closes_a_path_to_others_is_named() {
        let base = tempfile::tempdir_in("/var/tmp").expect("a folder");
        let base = base.path().canonicalize().expect("its path");
        made(&base, 0o755);
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
    fn a_program_is_read_and_not_entered() {
        let base = tempfile::tempdir_in("/var/tmp").expect("a folder");
        let base = base.path().canonicalize().expect("its path");
        made(&base, 0o755);
        let program = base.join("python3");
        std::fs::write(&program, "").expect("a file");
        for (mode, is_open) in [(0o755, true), (0o700, false), (0o711, false)] {
            let permissions = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(&program, permissions).expect("its mode");
            assert_eq!(closed(&program, Use::Read).is_none(), is_open, "{mode:o}");
        }
    }

    #[test]
    fn folders_are_made_open_below_one_that_is() {
        let base = tempfile::tempdir_in("/var/tmp").expect("a folder");
        let base = base.path().canonicalize().expect("its path");
        made(&base, 0o755);
        let wanted = base.join("mnemic/0123/scratch");
        make_open(&wanted).expect("made");
        assert_eq!(closed(&wanted, Use::Read), None);
        make_open(&wanted).expect("there already");
    }
}
