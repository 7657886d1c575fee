//! Ways to reach other programs.

use std::{
    io::ErrorKind,
    net::{TcpListener, UdpSocket},
    os::{
        linux::net::SocketAddrExt as _,
        unix::net::{SocketAddr, UnixDatagram, UnixListener},
    },
};

use serde_json::json;

use mnemic_tools::sandbox::HostGrant;

use crate::{
    all_is_well, attempts, nothing_works,
    place::{places, value},
};

#[tokio::test]
async fn no_socket_of_any_kind_reaches_anybody() {
    let tcp = TcpListener::bind("127.0.0.1:0").expect("tcp");
    let udp = UdpSocket::bind("127.0.0.1:0").expect("udp");
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let path = folder.path().join("socket");
    let unix = UnixListener::bind(&path).expect("unix");
    let hidden = format!("mnemic-hostile-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&hidden).expect("a name");
    let datagrams = UnixDatagram::bind_addr(&address).expect("abstract");
    tcp.set_nonblocking(true).expect("tcp");
    udp.set_nonblocking(true).expect("udp");
    unix.set_nonblocking(true).expect("unix");
    datagrams.set_nonblocking(true).expect("abstract");
    let mut call = attempts(
        r#"
def tool(tcp: int, udp: int, path: str, hidden: str):
    attempts = {}
    for family in range(46):
        for kind in (1, 2, 3, 5):
            attempts[f"socket {family} {kind}"] = lambda family=family, kind=kind: socket.socket(family, kind)
    pair = lambda: socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)[0]
    attempts["tcp"] = lambda: socket.create_connection(("127.0.0.1", tcp), 1)
    attempts["udp"] = lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", udp))
    attempts["names"] = lambda: socket.getaddrinfo("localhost.example", 80)
    attempts["unix"] = lambda: socket.socket(socket.AF_UNIX).connect(path)
    attempts["abstract"] = lambda: socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b"x", "\0" + hidden)
    attempts["datagram pair"] = lambda: socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    attempts["packet pair"] = lambda: socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    attempts["pair connects"] = lambda: pair().connect(path)
    attempts["pair binds"] = lambda: pair().bind("\0mine")
    attempts["pair sends to"] = lambda: pair().sendto(b"x", "\0" + hidden)
    attempts["pair listens"] = lambda: pair().listen()
    attempts["channel connects"] = lambda: [socket.socket(fileno=os.dup(fd)).connect("\0" + hidden) for fd in range(3, 64) if is_socket(fd)][0]
    attempts["raw call"] = lambda: syscall(41, 2, 1, 0)
    attempts["x32 call"] = lambda: syscall(0x40000000 + 41, 2, 1, 0)
    attempts["ring"] = lambda: syscall(425, 8, ctypes.create_string_buffer(120))
    return what_worked(attempts)
def is_socket(fd):
    try:
        return bool(socket.socket(fileno=os.dup(fd)))
    except OSError:
        return False
"#,
    );
    call.arguments
        .insert("tcp".into(), json!(tcp.local_addr().expect("tcp").port()));
    call.arguments
        .insert("udp".into(), json!(udp.local_addr().expect("udp").port()));
    call.arguments.insert("path".into(), json!(path));
    call.arguments.insert("hidden".into(), json!(hidden));
    nothing_works(call).await;
    let mut buffer = [0; 8];
    let nobody = |kind: ErrorKind| assert_eq!(kind, ErrorKind::WouldBlock);
    nobody(tcp.accept().expect_err("no connection").kind());
    nobody(udp.recv(&mut buffer).expect_err("no datagram").kind());
    nobody(unix.accept().expect_err("no connection").kind());
    nobody(datagrams.recv(&mut buffer).expect_err("no datagram").kind());
}

const GRANTED: &str = r#"
def tool(ports: list, own: str, path: str, hidden: str):
    proxy = int(os.environ["HTTP_PROXY"].rsplit(":", 1)[1])
    socket.create_connection(("127.0.0.1", proxy), 1).close()
    attempts = {}
    for family in range(46):
        for kind in (1, 2, 3, 5):
            for protocol in (0, 1, 6, 17, 132, 262):
                if (family, kind) != (2, 1) or protocol not in (0, 6):
                    attempts[f"socket {family} {kind} {protocol}"] = lambda f=family, k=kind, p=protocol: socket.socket(f, k, p)
    stream = lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    pair = lambda: socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)[0]
    for port in ports:
        for host in ("127.0.0.1", "127.0.0.2", own, "0.0.0.0"):
            attempts[f"tcp {host} {port}"] = lambda host=host, port=port: socket.create_connection((host, port), 1)
    attempts["outside"] = lambda: socket.create_connection(("192.0.2.1", 80), 1)
    attempts["metadata"] = lambda: socket.create_connection(("169.254.169.254", 80), 1)
    attempts["fast open"] = lambda: stream().sendto(b"x", 0x20000000, (own, ports[0]))
    attempts["bind"] = lambda: stream().bind(("127.0.0.1", 0))
    attempts["listen"] = lambda: stream().listen()
    attempts["names"] = lambda: socket.getaddrinfo("localhost.example", 80)
    attempts["unix"] = lambda: pair().connect(path)
    attempts["abstract"] = lambda: pair().connect("\0" + hidden)
    attempts["send"] = lambda: pair().sendto(b"x", "\0" + hidden)
    attempts["datagram pair"] = lambda: socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    attempts["channels"] = lambda: [socket.socket(fileno=os.dup(fd)).connect("\0" + hidden) for fd in range(3, 64) if is_socket(fd)][0]
    attempts["metadata by proxy"] = lambda: ask(proxy, "CONNECT 169.254.169.254:80 HTTP/1.1")
    attempts["machine by proxy"] = lambda: ask(proxy, f"CONNECT 127.0.0.1:{ports[0]} HTTP/1.1")
    attempts["two hosts"] = lambda: ask(proxy, f"GET http://127.0.0.1:{ports[0]}/ HTTP/1.1\r\nHost: localhost:1")
    attempts["no request"] = lambda: ask(proxy, "\x00" * 40000)
    attempts["raw call"] = lambda: syscall(41, 1, 1, 0)
    attempts["x32 call"] = lambda: syscall(0x40000000 + 41, 2, 1, 0)
    attempts["ring"] = lambda: syscall(425, 8, ctypes.create_string_buffer(120))
    return what_worked(attempts)
def ask(proxy, head):
    with socket.create_connection(("127.0.0.1", proxy), 5) as one:
        one.sendall(head.encode() + b"\r\n\r\n")
        answer = one.recv(4096)
    if b" 403 " in answer or b" 400 " in answer:
        raise OSError("refused")
    return answer
def is_socket(fd):
    try:
        return bool(socket.socket(fileno=os.dup(fd)))
    except OSError:
        return False
"#;

#[tokio::test]
async fn a_tool_with_granted_hosts_has_streams_to_its_proxy_and_nothing_else() {
    let tcp = TcpListener::bind("127.0.0.1:0").expect("tcp");
    let everywhere = TcpListener::bind("0.0.0.0:0").expect("tcp");
    let udp = UdpSocket::bind("127.0.0.1:0").expect("udp");
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let path = folder.path().join("socket");
    let unix = UnixListener::bind(&path).expect("unix");
    let hidden = format!("mnemic-hostile-granted-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&hidden).expect("a name");
    let datagrams = UnixDatagram::bind_addr(&address).expect("abstract");
    tcp.set_nonblocking(true).expect("tcp");
    everywhere.set_nonblocking(true).expect("tcp");
    udp.set_nonblocking(true).expect("udp");
    unix.set_nonblocking(true).expect("unix");
    datagrams.set_nonblocking(true).expect("abstract");
    let own = local_address().unwrap_or_else(|| "127.0.0.1".to_owned());
    let mut call = attempts(GRANTED);
    let ports = [&tcp, &everywhere].map(|one| one.local_addr().expect("tcp").port());
    call.arguments.insert("ports".into(), json!(ports));
    call.arguments.insert("own".into(), json!(own));
    call.arguments.insert("path".into(), json!(path));
    call.arguments.insert("hidden".into(), json!(hidden));
    // Granted is a port where nobody is.
    call.grants.hosts = vec![HostGrant {
        host: "localhost".to_owned(),
        port: Some(1),
    }];
    for (name, sandbox) in places().await {
        if name != "without namespaces" {
            assert_eq!(value(&sandbox, call.clone()).await, json!({}), "{name}");
            all_is_well(name, &sandbox).await;
        }
    }
    let mut buffer = [0; 8];
    let nobody = |kind: ErrorKind| assert_eq!(kind, ErrorKind::WouldBlock);
    nobody(tcp.accept().expect_err("no connection").kind());
    nobody(everywhere.accept().expect_err("no connection").kind());
    nobody(udp.recv(&mut buffer).expect_err("no datagram").kind());
    nobody(unix.accept().expect_err("no connection").kind());
    nobody(datagrams.recv(&mut buffer).expect_err("no datagram").kind());
}

/// An address of this machine that is not its loopback, if it has one.
fn local_address() -> Option<String> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    // Nothing is sent: this only looks the way up.
    socket.connect("192.0.2.1:9").ok()?;
    Some(socket.local_addr().ok()?.ip().to_string())
}
