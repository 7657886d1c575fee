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

use crate::{attempts, nothing_works};

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
