//! What a tool can read and write.

use std::{os::unix::fs::MetadataExt as _, time::Duration};

use serde_json::json;

use crate::{
    all_is_well, attempts, nothing_works,
    place::{outside, places, run, value},
};

#[tokio::test]
async fn files_of_the_system_and_of_the_server_can_not_be_read_or_listed() {
    let data = tempfile::tempdir_in(outside()).expect("a folder");
    std::fs::write(data.path().join("mnemic.db"), "rows").expect("a file");
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    std::fs::set_permissions(data.path(), open).expect("a mode");
    let mut call = attempts(
        r#"
def tool(data: str):
    files = ["/etc/passwd", "/etc/shadow", "/etc/hostname", data + "/mnemic.db", "/proc/self/environ", "/proc/1/environ",
             "/proc/cpuinfo", "/sys/kernel/uevent_seqnum", "/proc/kcore"]
    folders = [data, "/root", "/home", "/var", "/proc", "/sys", "/etc/ssl", os.path.dirname(data)]
    attempts = {path: lambda path=path: read(path) for path in files}
    attempts |= {path + "/": lambda path=path: os.listdir(path) for path in folders if path != "/etc/ssl"}
    attempts |= {"write " + path: lambda path=path: open(path, "w") for path in files}
    attempts["write"] = lambda: open(data + "/new", "w")
    attempts["delete"] = lambda: os.unlink(data + "/mnemic.db")
    attempts["change runtime"] = lambda: open(os.__file__, "a")
    attempts["replace runtime"] = lambda: os.rename(os.__file__, os.__file__ + ".old")
    attempts["add to runtime"] = lambda: open(os.path.dirname(os.__file__) + "/sitecustomize.py", "w")
    attempts["root"] = lambda: open("/new", "w")
    # Where /root holds the interpreter, the way to it can be seen, but nothing beside it.
    worked = what_worked(attempts)
    if worked.get("/root/") == "['.pyenv']":
        del worked["/root/"]
    return worked
"#,
    );
    call.arguments.insert("data".into(), json!(data.path()));
    nothing_works(call).await;
    assert!(data.path().join("mnemic.db").exists());
}

#[tokio::test]
async fn files_outside_keep_their_modes_owners_and_times() {
    let data = tempfile::tempdir().expect("a folder");
    let file = data.path().join("secret.key");
    std::fs::write(&file, "secret").expect("a file");
    let now = || {
        let seen = [data.path(), &file].map(|path| std::fs::metadata(path).expect("it is there"));
        seen.map(|one| (one.mode(), one.uid(), one.gid(), one.modified().ok()))
    };
    let mut call = attempts(
        r#"
def tool(data: str):
    file = data + "/secret.key"
    place = os.open(data, os.O_PATH)
    attempts = {}
    for path in (file, data):
        attempts["mode " + path] = lambda path=path: os.chmod(path, 0o777)
        attempts["time " + path] = lambda path=path: os.utime(path, (1, 1))
        attempts["owner " + path] = lambda path=path: os.chown(path, -1, os.getgid())
        attempts["attribute " + path] = lambda path=path: os.setxattr(path, "user.tool", b"1")
    attempts["mode below"] = lambda: os.chmod("secret.key", 0o777, dir_fd=place)
    attempts["time below"] = lambda: os.utime("secret.key", (1, 1), dir_fd=place)
    attempts["mode of what is open"] = lambda: os.chmod(f"/proc/self/fd/{place}", 0o777)
    attempts["newer"] = lambda: syscall(452, -100, file.encode(), 0o777, 0)
    what_worked(attempts)
"#,
    );
    call.arguments.insert("data".into(), json!(data.path()));
    for (name, sandbox) in places().await {
        let before = now();
        run(&sandbox, call.clone()).await;
        assert_eq!(now(), before, "{name}");
        all_is_well(name, &sandbox).await;
    }
}

#[tokio::test]
async fn a_tool_copies_its_files_with_their_modes() {
    let body = "import shutil\ndef tool():\n    open('first', 'w').write('text')\n    os.chmod('first', 0o600)\n    \
                return [open(copy('first', copy.__name__)).read() for copy in (shutil.copy, shutil.copy2)]\n";
    for (name, sandbox) in places().await {
        let copies = value(&sandbox, attempts(body)).await;
        assert_eq!(copies, json!(["text", "text"]), "{name}");
    }
}

#[tokio::test]
async fn links_and_ways_upwards_lead_nowhere() {
    nothing_works(attempts(
        r#"
def tool():
    os.symlink("/etc/passwd", "link")
    os.symlink("/", "all")
    os.mkdir("deep")
    own = os.open(".", os.O_RDONLY)
    def raced():
        # A name that changes between being checked and being used.
        for _ in range(200):
            os.symlink("/etc/passwd", "other")
            os.rename("other", "name")
            try:
                return read("name")
            except OSError:
                pass
        raise OSError
    return what_worked({
        "link": lambda: read("link"),
        "link of a folder": lambda: read("all/etc/passwd"),
        "upwards": lambda: read("../" * 40 + "etc/passwd"),
        "upwards from a descriptor": lambda: os.read(os.open("../../etc/passwd", os.O_RDONLY, dir_fd=own), 9),
        "process root": lambda: read("/proc/self/root/etc/passwd"),
        "process folder": lambda: read("/proc/self/cwd/../../etc/passwd"),
        "old root": lambda: os.listdir("/old") or None,
        "hard link": lambda: os.link("/etc/passwd", "hard"),
        "own root": lambda: (os.chroot("deep"), os.chdir("../" * 40), read("etc/passwd")),
        "raced": raced,
        "by handle": lambda: syscall(304, own, 0, 0),
    })
"#,
    ))
    .await;
}

#[tokio::test]
async fn the_folder_of_another_call_can_not_be_found() {
    for (name, sandbox) in places().await {
        let mut holder = attempts(
            "def tool():\n    open('secret', 'w').write('mine')\n    print(os.getcwd(), flush=True)\n    time.sleep(600)\n",
        );
        holder.limits.time = Duration::from_secs(2);
        let seeker = attempts(
            r#"
def tool():
    found = []
    deadline = time.monotonic() + 1
    while time.monotonic() < deadline:
        for folder, _, files in os.walk("/"):
            found += [folder for file in files if file == "secret"]
            if folder.count("/") > 6:
                break
        found += [path for path in ("/tmp/secret", "/tool/scratch/secret", "../secret") if os.path.exists(path)]
        if os.path.dirname(os.getcwd()) != "/tool":
            try:
                found += os.listdir(os.path.dirname(os.getcwd()))
            except OSError:
                pass
        time.sleep(0.05)
    return found
"#,
        );
        let (held, sought) = tokio::join!(run(&sandbox, holder), value(&sandbox, seeker));
        assert_eq!(sought, json!([]), "{name}");
        assert_eq!(
            held.stdout.len(),
            1,
            "{name}: the file was there meanwhile: {held:?}"
        );
    }
}

#[tokio::test]
async fn devices_and_programs_of_root_give_nothing() {
    nothing_works(attempts(
        r#"
import shutil
def tool():
    devices = ["/dev/mem", "/dev/kmsg", "/dev/vda", "/dev/sda", "/dev/nvme0n1", "/dev/kvm", "/dev/fuse", "/dev/net/tun", "/dev/tty",
               "/dev/ptmx", "/dev/shm/x"]
    attempts = {path: lambda path=path: open(path, "r+b") for path in devices}
    attempts["memory for all"] = lambda: open("/dev/shm/x", "w")
    attempts["make device"] = lambda: os.mknod("disk", 0o60666, os.makedev(254, 0))
    attempts["become root"] = lambda: os.setuid(0)
    attempts["become another"] = lambda: os.setresuid(1, 1, 1)
    attempts["groups"] = lambda: os.setgroups([0])
    def own_setuid():
        shutil.copy("/usr/bin/id", "id")
        os.chmod("id", 0o6755)
        text = subprocess.run(["./id", "-u"], capture_output=True, text=True).stdout.strip()
        return 1 / 0 if int(text) == os.getuid() and int(text) != 0 else text
    attempts["own setuid program"] = own_setuid
    for program in ("su", "sudo", "mount", "passwd", "newgrp", "chsh"):
        path = shutil.which(program)
        if path:
            def raised(path=path):
                text = subprocess.run([path, "-c", "id -u"], input="", capture_output=True, text=True, timeout=5).stdout
                return text if text.strip() == "0" else 1 / 0
            attempts[program] = raised
    return what_worked(attempts)
"#,
    ))
    .await;
}
