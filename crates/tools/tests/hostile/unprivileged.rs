//! The same where the server is not root. Its tools then belong to its own user, and what keeps users apart keeps nothing
//! of the server's from them.

use std::{
    fs::{Permissions, copy, create_dir, set_permissions},
    os::unix::{
        fs::{PermissionsExt as _, chown},
        process::CommandExt as _,
    },
    path::Path,
    process::Command,
};

/// A user that nobody else is.
const USER: u32 = 45_679;

/// Runs tests of this program again as another user, who can't enter the folders of who runs them now.
#[test]
fn nothing_gets_through_either_where_the_server_is_not_root() {
    if !nix::unistd::geteuid().is_root() {
        // Then every other test is such a one.
        return;
    }
    let folder = tempfile::tempdir_in("/tmp").expect("a folder");
    let open = |path: &Path| set_permissions(path, Permissions::from_mode(0o755)).expect("a mode");
    let place = |program: &Path, name: &str| {
        let there = folder.path().join(name);
        copy(program, &there).expect("a copy");
        open(&there);
        there
    };
    open(folder.path());
    let tests = place(&std::env::current_exe().expect("this program"), "tests");
    let keeper = place(Path::new(env!("CARGO_BIN_EXE_sandbox-child")), "keeper");
    let own = folder.path().join("own");
    create_dir(&own).expect("a folder");
    chown(&own, Some(USER), Some(USER)).expect("its owner");
    let done = Command::new(tests)
        .args(["files::", "processes::", "--test-threads=2"])
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .env("MNEMIC_TEST_KEEPER", keeper)
        .env("HOME", &own)
        .env("TMPDIR", &own)
        .current_dir(&own)
        .uid(USER)
        .gid(USER)
        .output()
        .expect("the tests run");
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success(), "{said}");
    assert!(said.contains("files_outside_keep"), "{said}");
}
