//! What people who write tools rely on when these need packages. Needs the registries, as installing does.
#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod place;

use std::{
    collections::BTreeSet,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use mnemic_core::tools::requirements::{Registry, Requirement};
use mnemic_tools::sandbox::{Call, Language, Layer, Sandbox, SandboxError, Settings};
use place::{places_with, python, settings, value};
use serde_json::json;
use tempfile::TempDir;

/// A folder for sets that every user can enter, as calls of a server that is root may be anybody.
fn folder() -> TempDir {
    folder_of(0o755)
}

fn folder_of(mode: u32) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(mode)).expect("a mode");
    folder
}

fn keeping_in(folder: &TempDir) -> Settings {
    Settings {
        packages: folder.path().join("packages"),
        ..settings()
    }
}

fn needed(registry: Registry, name: &str, version: &str) -> Vec<Requirement> {
    vec![Requirement::new(registry, name, Some(version)).expect("a requirement")]
}

fn six() -> Call {
    Call {
        packages: needed(Registry::Pip, "six", "1.16.0"),
        ..python("import six\ndef tool():\n    return six.__version__\n")
    }
}

fn no_such_package() -> Call {
    Call {
        packages: needed(Registry::Pip, "six", "999.0"),
        ..six()
    }
}

/// Names of folders in which something is built now.
fn building(packages: &Path) -> BTreeSet<PathBuf> {
    let entries = std::fs::read_dir(packages).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.path())
        .filter(|path| {
            path.file_name()
                .unwrap()
                .to_string_lossy()
                .starts_with(".building-")
        })
        .collect()
}

fn sets(packages: &Path) -> usize {
    std::fs::read_dir(packages).expect("the folder").count() - building(packages).len()
}

fn reason(error: &SandboxError) -> &str {
    match error {
        SandboxError::Packages { reason, .. } => reason,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_python_tool_imports_the_packages_that_it_needs() {
    let folder = folder();
    for (name, sandbox) in places_with(&keeping_in(&folder)).await {
        assert_eq!(value(&sandbox, six()).await, json!("1.16.0"), "{name}");
    }
}

#[tokio::test]
async fn a_javascript_tool_requires_and_imports_the_packages_that_it_needs() {
    let folder = folder();
    let source = "
import odd from 'is-odd';
async function tool(number) {
    const later = (await import('is-number')).default;
    return [odd(number), require('is-odd')(number), later(number)];
}
";
    let mut call = Call {
        language: Language::JavaScript,
        packages: needed(Registry::Npm, "is-odd", "3.0.1"),
        ..python(source)
    };
    call.arguments.insert("number".into(), json!(3));
    for (name, sandbox) in places_with(&keeping_in(&folder)).await {
        let value = value(&sandbox, call.clone()).await;
        assert_eq!(value, json!([true, true, true]), "{name}");
    }
}

#[tokio::test]
async fn packages_can_not_be_changed_by_the_tools_that_use_them() {
    let folder = folder();
    let source = r#"
import os, six, shutil
def tool():
    file = six.__file__
    own = os.path.dirname(file)
    def changes(change):
        # Where tools have no files of their own, this does nothing and says that it did.
        seen = lambda: (os.stat(file).st_mode, os.stat(file).st_mtime_ns)
        before = seen()
        change()
        if seen() == before:
            raise OSError("as before")
    attempts = {
        "write": lambda: open(file, "a"),
        "truncate": lambda: os.truncate(file, 0),
        "make": lambda: open(own + "/new.py", "w"),
        "delete": lambda: os.remove(file),
        "rename": lambda: os.rename(file, own + "/other.py"),
        "replace": lambda: os.rename(__import__("tempfile").mkstemp()[1], file),
        "mode": lambda: changes(lambda: os.chmod(file, 0o777)),
        "times": lambda: changes(lambda: os.utime(file)),
        "all": lambda: shutil.rmtree(own),
    }
    worked = []
    for name, attempt in attempts.items():
        try:
            attempt()
            worked.append(name)
        except OSError:
            pass
    return worked
"#;
    let spoil = Call {
        packages: six().packages,
        ..python(source)
    };
    for (name, sandbox) in places_with(&keeping_in(&folder)).await {
        assert_eq!(value(&sandbox, spoil.clone()).await, json!([]), "{name}");
        assert_eq!(value(&sandbox, six()).await, json!("1.16.0"), "{name}");
    }
}

#[tokio::test]
async fn a_tool_sees_the_packages_that_it_asked_for_and_no_others() {
    let folder = folder();
    let packages = folder.path().join("packages");
    let source = "
import os
def tool(packages):
    found = []
    for folder in ('/packages', packages):
        try:
            found += [name for name in os.listdir(folder) if not name.startswith('six')]
        except OSError:
            pass
    try:
        import toml
        found.append('imported')
    except ImportError:
        pass
    return sorted(set(found) - {'__pycache__', 'bin'})
";
    let mut look = python(source);
    look.arguments.insert("packages".into(), json!(packages));
    let mut toml = python("import toml\ndef tool():\n    return toml.__name__\n");
    toml.packages = needed(Registry::Pip, "toml", "0.10.2");
    for (name, sandbox) in places_with(&keeping_in(&folder)).await {
        assert_eq!(value(&sandbox, toml.clone()).await, json!("toml"), "{name}");
        assert_eq!(value(&sandbox, look.clone()).await, json!([]), "{name}");
        let with_six = Call {
            packages: six().packages,
            ..look.clone()
        };
        assert_eq!(value(&sandbox, with_six).await, json!([]), "{name}");
    }
}

#[tokio::test]
async fn calls_that_need_the_same_packages_at_the_same_time_wait_for_one_installation() {
    let folder = folder();
    let settings = keeping_in(&folder);
    let packages = settings.packages.clone();
    let sandbox = Sandbox::new(settings).await;
    let watched = packages.clone();
    let watch = tokio::spawn(async move {
        let mut seen = BTreeSet::new();
        while !watched.exists() || sets(&watched) == 0 || !building(&watched).is_empty() {
            seen.extend(building(&watched));
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        seen
    });
    let (one, other) = tokio::join!(value(&sandbox, six()), value(&sandbox, six()));
    assert_eq!((one, other), (json!("1.16.0"), json!("1.16.0")));
    assert_eq!(watch.await.expect("a watch").len(), 1);
    assert_eq!(sets(&packages), 1);
}

#[tokio::test]
async fn an_installation_that_breaks_off_leaves_nothing_and_the_next_call_installs() {
    let folder = folder();
    let settings = keeping_in(&folder);
    let packages = settings.packages.clone();
    let sandbox = Sandbox::new(settings).await;
    let task = tokio::spawn({
        let sandbox = sandbox.clone();
        async move { sandbox.run(six()).await.map(drop) }
    });
    while building(&packages).is_empty() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    task.abort();
    assert!(task.await.expect_err("aborted").is_cancelled());
    assert_eq!(std::fs::read_dir(&packages).expect("the folder").count(), 0);
    assert_eq!(value(&sandbox, six()).await, json!("1.16.0"));
}

#[tokio::test]
async fn packages_that_the_registry_does_not_have_are_named_with_its_reason_and_not_asked_for_again()
 {
    let folder = folder();
    let settings = keeping_in(&folder);
    let packages = settings.packages.clone();
    let sandbox = Sandbox::new(settings).await;
    let touched = || {
        std::fs::metadata(&packages)
            .expect("the folder")
            .modified()
            .expect("a time")
    };
    let first = sandbox.run(no_such_package()).await.expect_err("refused");
    let said = first.to_string();
    assert!(
        said.starts_with("the packages six==999.0 can't be installed: pip ended"),
        "{said}"
    );
    assert!(
        said.contains("No matching distribution found for six==999.0"),
        "{said}"
    );
    assert!(said.contains("Check the names and versions"), "{said}");
    let before = touched();
    let second = sandbox.run(no_such_package()).await.expect_err("refused");
    assert_eq!(second.to_string(), said);
    assert_eq!(touched(), before, "nothing was built");
    assert_eq!(sets(&packages), 0);
    let mut npm = no_such_package();
    npm.language = Language::JavaScript;
    npm.packages = needed(Registry::Npm, "is-odd", "999.0.0");
    let npm = sandbox.run(npm).await.expect_err("refused");
    assert!(reason(&npm).contains("is-odd@999.0.0"), "{npm}");
}

#[tokio::test]
async fn where_installing_is_switched_off_packages_that_are_there_work_and_others_are_refused() {
    let folder = folder();
    let offline = Settings {
        offline: true,
        ..keeping_in(&folder)
    };
    let sandbox = Sandbox::new(offline).await;
    let error = sandbox.run(six()).await.expect_err("refused");
    assert!(reason(&error).contains("offline"), "{error}");
    let online = Sandbox::new(keeping_in(&folder)).await;
    assert_eq!(value(&online, six()).await, json!("1.16.0"));
    assert_eq!(value(&sandbox, six()).await, json!("1.16.0"));
}

#[tokio::test]
async fn packages_whose_folder_was_deleted_are_installed_anew() {
    let folder = folder();
    let settings = keeping_in(&folder);
    let packages = settings.packages.clone();
    let sandbox = Sandbox::new(settings).await;
    assert_eq!(value(&sandbox, six()).await, json!("1.16.0"));
    std::fs::remove_dir_all(&packages).expect("deleted");
    assert_eq!(value(&sandbox, six()).await, json!("1.16.0"));
    assert_eq!(
        value(&sandbox, python("def tool():\n    return 1\n")).await,
        json!(1)
    );
}

#[tokio::test]
async fn where_tools_are_other_users_a_private_data_folder_keeps_none_from_running() {
    // As the server makes its own: closed to everybody else.
    let private = folder_of(0o700);
    let (open, scratch) = (folder(), private.path().join("scratch"));
    std::fs::create_dir(&scratch).expect("a folder");
    let sandbox = Sandbox::new(Settings {
        scratch,
        packages: private.path().join("packages"),
        open: open.path().join("of this server"),
        without: vec![Layer::Namespaces],
        ..settings()
    })
    .await;
    let source = "import os\n\ndef tool():\n    path = os.path.abspath('kept')\n    open(path, 'w').write('written')\n    \
                  return open(path).read()\n";
    assert_eq!(value(&sandbox, python(source)).await, json!("written"));
    assert_eq!(value(&sandbox, six()).await, json!("1.16.0"));
    let javascript = Call {
        language: Language::JavaScript,
        ..python("function tool() { return 1 + 1 }")
    };
    assert_eq!(value(&sandbox, javascript).await, json!(2));
}

#[tokio::test]
async fn an_interpreter_that_only_root_can_read_is_named() {
    let private = folder_of(0o700);
    let copy = private.path().join("copy");
    std::fs::copy("/usr/bin/python3", &copy).expect("a copy");
    let closed = Sandbox::new(Settings {
        python: Some(copy.clone()),
        without: vec![Layer::Namespaces],
        ..settings()
    })
    .await;
    let answer = closed.run(python("def tool(): pass")).await;
    if !nix::unistd::geteuid().is_root() {
        // Then tools run as who started the server.
        return assert!(answer.is_ok(), "{answer:?}");
    }
    let error = answer.expect_err("closed").to_string();
    let folder = private.path().canonicalize().expect("its path");
    assert!(
        error.contains(&format!("{} can't be read by everybody", folder.display())),
        "{error}"
    );
    assert!(error.contains("MNEMIC_PYTHON"), "{error}");
}
