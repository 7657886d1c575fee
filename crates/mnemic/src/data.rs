//! The data folder: made at first start, held by one process, with the key of stored secrets.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{self, Read as _, Seek as _, Write as _},
    path::{Path, PathBuf},
};

use rand::RngCore as _;

/// Bytes that a key file has at least.
const MIN_KEY_LEN: usize = 16;

/// The folder while this process holds it.
#[derive(Debug)]
pub struct DataFolder {
    /// Where it is.
    pub path: PathBuf,
    _lock: File,
}

/// The user's data folder for Mnemic.
#[must_use]
pub fn usual() -> PathBuf {
    directories::ProjectDirs::from("", "", "mnemic").map_or_else(
        || PathBuf::from("mnemic-data"),
        |dirs| dirs.data_dir().to_owned(),
    )
}

/// Lets only those that `mode` names at a file or folder.
pub fn private(path: &Path, mode: u32) -> io::Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
    }
    #[cfg(not(unix))]
    let _ = (path, mode);
    Ok(())
}

impl DataFolder {
    /// Makes the folder if need be and holds it; a second process is told who has it.
    ///
    /// # Errors
    /// It cannot be made, or another process holds it.
    pub fn open(path: &Path) -> io::Result<Self> {
        Self::hold(path).map_err(|error| {
            let folder = path.display();
            io::Error::new(error.kind(), format!("the data folder {folder}: {error}"))
        })
    }

    fn hold(path: &Path) -> io::Result<Self> {
        if !path.is_dir() {
            std::fs::create_dir_all(path)?;
            private(path, 0o700)?;
        }
        let mut lock = OpenOptions::new()
            .create(true)
            .read(true)
            .write(true)
            .truncate(false)
            .open(path.join("lock"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                lock.read_to_string(&mut holder)?;
                return Err(io::Error::new(
                    io::ErrorKind::ResourceBusy,
                    format!(
                        "it is in use by another mnemic (process {}); stop that one, or choose another \
                         folder with --data-dir",
                        holder.trim()
                    ),
                ));
            }
            Err(TryLockError::Error(error)) => return Err(error),
        }
        lock.set_len(0)?;
        lock.rewind()?;
        write!(lock, "{}", std::process::id())?;
        Ok(Self {
            path: path.to_owned(),
            _lock: lock,
        })
    }

    /// The key of stored secrets: what is configured, else the key file, which is made at first.
    ///
    /// # Errors
    /// The file cannot be read or made.
    pub fn encryption_key(&self, configured: Option<String>) -> io::Result<Vec<u8>> {
        if let Some(key) = configured {
            return Ok(key.into_bytes());
        }
        let path = self.path.join("secret.key");
        if !path.exists() {
            let mut bytes = [0u8; 32];
            rand::rng().fill_bytes(&mut bytes);
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            // Written aside and renamed, so that a crash leaves no half of a key.
            let draft = self.path.join("secret.key.new");
            let mut file = File::create(&draft)?;
            private(&draft, 0o600)?;
            file.write_all(hex.as_bytes())?;
            file.sync_all()?;
            std::fs::rename(&draft, &path)?;
        }
        let key = std::fs::read(&path)?.trim_ascii().to_vec();
        if key.len() < MIN_KEY_LEN {
            let path = path.display();
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("{path} holds no key: put back the one that it held"),
            ));
        }
        Ok(key)
    }

    /// The file of the embedded database, closed to other users also in a folder that is not.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn database(&self) -> io::Result<PathBuf> {
        let path = self.path.join("mnemic.db");
        let file = OpenOptions::new().create(true).append(true).open(&path)?;
        drop(file);
        private(&path, 0o600)?;
        Ok(path)
    }
}

/// The file of the embedded database in a folder that another process may hold.
///
/// # Errors
/// There is none.
pub fn existing_database(folder: &Path) -> io::Result<PathBuf> {
    let path = folder.join("mnemic.db");
    if path.is_file() {
        return Ok(path);
    }
    Err(io::Error::new(
        io::ErrorKind::NotFound,
        format!(
            "there is no database in {}; name its folder with --data-dir",
            folder.display()
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_holder_is_told_who_has_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let held = DataFolder::open(folder.path()).unwrap();
        let refused = DataFolder::open(folder.path()).unwrap_err().to_string();
        assert!(
            refused.contains(&std::process::id().to_string()),
            "{refused}"
        );
        drop(held);
        assert!(DataFolder::open(folder.path()).is_ok());
    }

    #[test]
    fn the_key_file_is_private_and_stays_the_same() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let held = DataFolder::open(&folder.path().join("data")).unwrap();
        let key = held.encryption_key(None).unwrap();
        assert_eq!(key.len(), 64);
        assert_eq!(held.encryption_key(None).unwrap(), key);
        let mode = std::fs::metadata(held.path.join("secret.key"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(held.encryption_key(Some("own".to_owned())).unwrap(), b"own");
    }
}
