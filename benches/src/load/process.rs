//! Processes that are measured: their processor time and memory, read from `/proc`, and their start.

use std::{
    io::{self, BufRead as _, BufReader, Write as _},
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

/// Ticks per second of the times in `/proc/PID/stat`: USER_HZ, which is 100 on every Linux that
/// distributions ship (proc(5)).
const TICKS: f64 = 100.0;

/// Seconds of processor time that a process has taken, in user and system mode.
#[must_use]
pub fn cpu_seconds(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The second field is in parentheses and may hold spaces; utime and stime are the 14th and 15th.
    let after = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks = after
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|word| word.parse::<f64>().ok());
    ticks.sum::<f64>() / TICKS
}

/// Seconds of processor time of several processes.
#[must_use]
pub fn cpu_seconds_of(pids: &[u32]) -> f64 {
    pids.iter().map(|pid| cpu_seconds(*pid)).sum()
}

/// The processes whose parent is `pid`, and itself.
#[must_use]
pub fn family(pid: u32) -> Vec<u32> {
    let mut pids = vec![pid];
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    for entry in entries {
        let Ok(candidate) = entry.file_name().to_string_lossy().parse::<u32>() else {
            continue;
        };
        let stat = std::fs::read_to_string(format!("/proc/{candidate}/stat")).unwrap_or_default();
        let parent = stat
            .rsplit_once(')')
            .and_then(|(_, rest)| rest.split_whitespace().nth(1));
        if parent.and_then(|word| word.parse().ok()) == Some(pid) {
            pids.push(candidate);
        }
    }
    pids
}

/// Megabytes of memory that a process holds (VmRSS).
#[must_use]
pub fn memory_mb(pid: u32) -> f64 {
    status_mb(pid, "VmRSS:")
}

/// Megabytes of memory that a process held at most (VmHWM).
#[must_use]
pub fn peak_memory_mb(pid: u32) -> f64 {
    status_mb(pid, "VmHWM:")
}

fn status_mb(pid: u32, field: &str) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    line.and_then(|line| line.split_whitespace().next())
        .and_then(|word| word.parse::<f64>().ok())
        .unwrap_or(0.0)
        / 1024.0
}

/// A child process that ends with this value.
pub struct Running {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Running {
    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Starts the scripted model, which prints its address.
///
/// # Errors
/// The program cannot be started.
pub fn start_scripted(program: &Path) -> io::Result<Running> {
    let mut child = Command::new(program)
        .arg("--port=0")
        .stdout(Stdio::piped())
        .spawn()?;
    let output = child
        .stdout
        .take()
        .ok_or_else(|| io::Error::other("no output"))?;
    let mut line = String::new();
    BufReader::new(output).read_line(&mut line)?;
    let address = line
        .split_whitespace()
        .last()
        .and_then(|word| word.parse().ok());
    let address = address.ok_or_else(|| io::Error::other(format!("no address in {line:?}")))?;
    Ok(Running { child, address })
}

/// What a server is started with.
#[derive(Debug, Clone, Copy)]
pub struct Start<'a> {
    /// The server's program.
    pub program: &'a Path,
    /// The data folder.
    pub folder: &'a Path,
    /// The scripted model.
    pub model: SocketAddr,
    /// The PostgreSQL database to use in place of SQLite.
    pub database: Option<&'a str>,
    /// The handle of the embedding model; `none` for no embeddings, the server's own choice unless set.
    pub embedding: Option<&'a str>,
}

/// Starts the server and waits for its first 200 on `/v1/health`; returns how many milliseconds that took.
///
/// # Errors
/// The program cannot be started, or does not answer within 30 s.
pub fn start_server(start: &Start<'_>) -> io::Result<(Running, f64)> {
    let Start {
        program,
        folder,
        model,
        ..
    } = *start;
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let log = std::fs::File::create(folder.join("server.log"))?;
    let mut command = Command::new(program);
    command
        .args([
            "serve",
            "--host",
            "127.0.0.1",
            "--port",
            &address.port().to_string(),
        ])
        .env("MNEMIC_DATA_DIR", folder)
        // A database that is measured twice is opened with the same key.
        .env("MNEMIC_ENCRYPTION_KEY", "the key of the benchmark")
        .env("OPENAI_API_KEY", "sk-none")
        .env("MNEMIC_DETECT", "false")
        .env("OPENAI_BASE_URL", format!("http://{model}/v1"))
        .stdout(Stdio::null())
        .stderr(log);
    if let Some(url) = start.database {
        command.env("MNEMIC_DATABASE_URL", url);
    }
    if let Some(handle) = start.embedding {
        command.env("MNEMIC_DEFAULT_EMBEDDING", handle);
    }
    let begun = Instant::now();
    let running = Running {
        child: command.spawn()?,
        address,
    };
    while begun.elapsed() < Duration::from_secs(30) {
        if is_healthy(address).unwrap_or(false) {
            return Ok((running, begun.elapsed().as_secs_f64() * 1e3));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Err(io::Error::other("the server did not answer within 30 s"))
}

fn is_healthy(address: SocketAddr) -> io::Result<bool> {
    let mut socket = std::net::TcpStream::connect(address)?;
    socket.write_all(b"GET /v1/health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")?;
    let mut line = String::new();
    BufReader::new(socket).read_line(&mut line)?;
    Ok(line.contains(" 200 "))
}

/// A folder for a server's data, which is removed at the end.
pub struct Folder(PathBuf);

impl Folder {
    /// A new one in the folder of temporary files.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn new(name: &str) -> io::Result<Self> {
        let name = format!("mnemic-bench-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path)?;
        Ok(Self(path))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left in the temporary folder harms nobody.
        std::fs::remove_dir_all(&self.0).ok();
    }
}

/// The machine, so that figures of different ones are not compared by mistake.
#[must_use]
pub fn machine() -> Value {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name"));
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    json!({
        "cores": std::thread::available_parallelism().map_or(0, usize::from),
        "processor": model.map(|text| text.trim_matches([':', ' ', '\t'])),
        "kernel": kernel.trim(),
    })
}

/// The median time of a fixed computation (ordering 200,000 numbers) in milliseconds, by which
/// figures from machines and hours of different speed can be compared.
#[must_use]
pub fn processor_ms() -> f64 {
    let mut times = Vec::new();
    for _ in 0..20 {
        let mut state = 1u64;
        let mut numbers: Vec<u64> = (0..200_000)
            .map(|_| {
                // Knuth's MMIX generator, The Art of Computer Programming 2, 3.3.4.
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                state
            })
            .collect();
        let begun = Instant::now();
        numbers.sort_unstable();
        times.push(begun.elapsed().as_secs_f64() * 1e3);
        std::hint::black_box(numbers);
    }
    super::figures::Quantiles::of(times).p50
}

/// The median time of an fdatasync of 8 KiB on the file system of a folder, in milliseconds.
///
/// # Errors
/// The folder cannot be written.
pub fn fsync_ms(folder: &Path) -> io::Result<f64> {
    use std::os::unix::fs::FileExt as _;
    let file = std::fs::File::create(folder.join("fsync-probe"))?;
    file.write_all_at(&vec![0; 4 << 20], 0)?;
    file.sync_all()?;
    let mut times = Vec::new();
    for round in 0..200u64 {
        file.write_all_at(&[1; 8192], (round % 500) * 8192)?;
        let begun = Instant::now();
        file.sync_data()?;
        times.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    std::fs::remove_file(folder.join("fsync-probe"))?;
    Ok(super::figures::Quantiles::of(times).p50)
}
