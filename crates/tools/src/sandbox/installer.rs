//! The registries' own clients, as children of the server: outside of any call's sandbox, with the network, and with an
//! environment of nothing but what they need. No code of a package runs.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    process::{Child, Command},
};

use super::{Language, interpreters::Interpreter};

/// How long an installation may take.
const TIME: Duration = Duration::from_mins(10);
/// Bytes that a set may take on the disk.
const BYTES: u64 = 2 << 30;
/// How often the size is looked at.
#[cfg(target_os = "linux")]
const LOOK: Duration = Duration::from_millis(500);
/// Bytes of its output that are kept: the last ones.
const TAIL: usize = 16 * 1024;
/// Lines and characters of the reason that people are shown.
const REASON_LINES: usize = 12;
const REASON_CHARACTERS: usize = 1500;

/// What the clients are told by variables of the server: where registries and proxies are.
const HANDED: [&str; 14] = [
    "PIP_INDEX_URL",
    "PIP_EXTRA_INDEX_URL",
    "PIP_CERT",
    "PIP_CONFIG_FILE",
    "npm_config_registry",
    "NPM_CONFIG_REGISTRY",
    "NPM_CONFIG_USERCONFIG",
    "NODE_EXTRA_CA_CERTS",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
];

/// Installs packages into a folder, with `work` for everything that is only needed meanwhile. The error is for whoever
/// runs the tool.
pub(crate) async fn install(
    interpreter: &Interpreter,
    specs: &[String],
    work: &Path,
    into: &Path,
) -> Result<(), String> {
    let (client, mut command) = match interpreter.language {
        Language::Python => ("pip", pip(interpreter, into)),
        Language::JavaScript | Language::TypeScript => {
            // Without one, npm takes a folder further up for the project.
            std::fs::write(into.join("package.json"), "{\"private\": true}\n")
                .map_err(|error| format!("their folder can't be written: {error}"))?;
            ("npm", npm(interpreter))
        }
    };
    let home = work.join("home");
    std::fs::create_dir(&home)
        .map_err(|error| format!("their folder can't be written: {error}"))?;
    command
        .arg("--")
        .args(specs)
        .current_dir(into)
        .envs(settings_files())
        .env("HOME", &home)
        .env("TMPDIR", &home)
        // Sources of version control are no packages of a registry, and are built by code of their own.
        .env("GIT_ALLOW_PROTOCOL", "none")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    #[cfg(unix)]
    command.process_group(0);
    let child = command.spawn().map_err(|error| {
        format!("{client} could not be started ({error}): install it beside the interpreter")
    })?;
    run(client, Group(child), work).await
}

fn pip(interpreter: &Interpreter, into: &Path) -> Command {
    let mut command = clean(&interpreter.program);
    command
        .args(["-I", "-m", "pip", "install", "--only-binary", ":all:"])
        .args([
            "--no-input",
            "--disable-pip-version-check",
            "--no-cache-dir",
        ])
        .args(["--progress-bar", "off", "--target"])
        .arg(into)
        .env("PIP_ROOT_USER_ACTION", "ignore")
        // A package that names a source by its URL would still be built. No interpreter starts with this one, except by -I.
        .env("PYTHONHOME", "/nonexistent");
    command
}

fn npm(interpreter: &Interpreter) -> Command {
    let beside = interpreter.program.with_file_name("npm");
    let program = if beside.is_file() {
        beside
    } else {
        PathBuf::from("npm")
    };
    let mut command = clean(&program);
    command
        .args(["install", "--ignore-scripts", "--no-audit", "--no-fund"])
        .args(["--no-update-notifier", "--loglevel=error"]);
    // It is a script for the first node of the search path.
    let folder = interpreter.program.parent().map(Path::to_owned);
    let usual = std::env::var_os("PATH").unwrap_or_default();
    let all = folder.into_iter().chain(std::env::split_paths(&usual));
    if let Ok(path) = std::env::join_paths(all) {
        command.env("PATH", path);
    }
    command
}

/// A command that sees of the server's environment only what leads to the registry.
fn clean(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear();
    for name in HANDED.into_iter().chain(["PATH"]) {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    command
}

/// The clients' settings of the server's user: their usual places are below a home that they do not see.
fn settings_files() -> Vec<(&'static str, OsString)> {
    let Some(home) = std::env::var_os("HOME").map(PathBuf::from) else {
        return Vec::new();
    };
    let config =
        std::env::var_os("XDG_CONFIG_HOME").map_or_else(|| home.join(".config"), PathBuf::from);
    let places = [
        (
            "PIP_CONFIG_FILE",
            vec![config.join("pip/pip.conf"), home.join(".pip/pip.conf")],
        ),
        ("NPM_CONFIG_USERCONFIG", vec![home.join(".npmrc")]),
    ];
    places
        .into_iter()
        .filter(|(name, _)| std::env::var_os(name).is_none())
        .filter_map(|(name, files)| {
            let file = files.into_iter().find(|file| file.is_file())?;
            Some((name, file.into_os_string()))
        })
        .collect()
}

/// A client with what it started: all of them end when nobody waits any more.
struct Group(Child);

impl Drop for Group {
    fn drop(&mut self) {
        #[cfg(unix)]
        if let Some(id) = self.0.id().and_then(|id| i32::try_from(id).ok()) {
            let group = nix::unistd::Pid::from_raw(id);
            let _ = nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL);
        }
    }
}

async fn run(client: &str, mut group: Group, work: &Path) -> Result<(), String> {
    let (stdout, stderr) = (group.0.stdout.take(), group.0.stderr.take());
    let ended = async {
        let read = async { tokio::join!(tail(stdout), tail(stderr)) };
        let (status, (out, err)) = tokio::join!(group.0.wait(), read);
        let status = status.map_err(|error| error.to_string())?;
        if status.success() {
            return Ok(());
        }
        let said = reason(if err.trim().is_empty() { &out } else { &err });
        Err(format!(
            "{client} ended with {status}. Check the names and versions, or try again in a minute if its registry could \
             not be reached. Its last words:\n{said}"
        ))
    };
    let result = tokio::select! {
        ended = ended => ended,
        () = tokio::time::sleep(TIME) => Err(format!(
            "{client} did not end within {} minutes. Ask for fewer packages, or see whether its registry can be reached",
            TIME.as_secs() / 60
        )),
        () = too_large(work) => Err(format!(
            "they take more than {} MB. Ask for fewer or smaller packages",
            BYTES >> 20
        )),
    };
    drop(group);
    result
}

/// Comes back when the set has become too large.
#[cfg(target_os = "linux")]
async fn too_large(work: &Path) {
    loop {
        tokio::time::sleep(LOOK).await;
        let folder = work.to_owned();
        let look =
            tokio::task::spawn_blocking(move || super::tree::bytes_below(&folder, BYTES) > BYTES);
        if matches!(look.await, Ok(true)) {
            return;
        }
    }
}

#[cfg(not(target_os = "linux"))]
async fn too_large(_work: &Path) {
    std::future::pending().await
}

/// The end of what a client writes.
async fn tail(from: Option<impl AsyncRead + Unpin>) -> String {
    let Some(mut from) = from else {
        return String::new();
    };
    let mut kept = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(count) = from.read(&mut buffer).await {
        if count == 0 {
            break;
        }
        kept.extend(buffer.iter().take(count));
        let over = kept.len().saturating_sub(TAIL);
        kept.drain(..over);
    }
    String::from_utf8_lossy(&kept).into_owned()
}

/// The last lines, without where a log of them is: that folder is gone by then.
fn reason(said: &str) -> String {
    let lines: Vec<&str> = said
        .lines()
        .map(str::trim_end)
        .filter(|line| !line.trim().is_empty() && !line.contains("log of this run"))
        .collect();
    let last = lines
        .get(lines.len().saturating_sub(REASON_LINES)..)
        .unwrap_or_default()
        .join("\n");
    let over = last.chars().count().saturating_sub(REASON_CHARACTERS);
    last.chars().skip(over).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_would_run_code_to_be_installed_is_not() {
        let work = tempfile::tempdir().expect("a folder");
        let (source, into) = (work.path().join("source"), work.path().join("set"));
        let mark = work.path().join("mark");
        std::fs::create_dir(&source).expect("a folder");
        std::fs::create_dir(&into).expect("a folder");
        let setup = format!(
            "open({mark:?}, 'w')\nfrom setuptools import setup\nsetup(name='bad', version='1')\n"
        );
        std::fs::write(source.join("setup.py"), setup).expect("a file");
        let python = Interpreter::find(Language::Python, None, false).expect("Python");
        // As a package of a registry may name another by where it is.
        let specs = [source.display().to_string()];
        let result = install(&python, &specs, work.path(), &into).await;
        assert!(result.is_err() && !mark.exists(), "{result:?}");
    }

    #[test]
    fn the_reason_is_the_end_of_what_a_client_said_and_bounded() {
        let lines: Vec<String> = (0..40).map(|line| format!("line {line}")).collect();
        let said = reason(&lines.join("\n"));
        assert!(
            said.starts_with("line 28") && said.ends_with("line 39"),
            "{said}"
        );
        assert_eq!(reason(&"x".repeat(100_000)).len(), REASON_CHARACTERS);
        assert_eq!(
            reason("wrong\n\nA complete log of this run is in x\n"),
            "wrong"
        );
    }
}
