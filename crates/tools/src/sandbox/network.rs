//! The network of a call that may talk to hosts: a network namespace with nothing but its own loopback, where a listener
//! of the server stands. The keeper makes that listener from inside and hands it out; what comes to it, the server serves.

use std::{
    io::{self, IoSlice},
    mem::MaybeUninit,
    net::{Ipv4Addr, TcpListener},
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    path::Path,
    time::Duration,
};

use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags,
    SocketType,
};
use tokio::{io::AsyncReadExt as _, net::UnixStream, time::timeout};

use super::{
    SandboxError,
    closing::{Failed, failed},
    handing,
    launch::start_error,
    plan::Folder,
    proxy::{Proxy, Rules},
};

/// How long a keeper may take to hand its listener over.
const PATIENCE: Duration = Duration::from_secs(20);

/// Where systems keep the certificates of authorities, which TLS clients read. No private keys are in there.
const CERTIFICATES: [&str; 8] = [
    "/etc/ssl/certs",
    "/etc/ssl/cert.pem",
    "/etc/pki/tls/certs",
    "/etc/pki/tls/cert.pem",
    "/etc/pki/ca-trust/extracted",
    "/etc/ca-certificates/extracted",
    "/usr/share/ca-certificates",
    "/usr/local/share/ca-certificates",
];

/// What a TLS client needs to read.
pub(crate) fn certificates() -> impl Iterator<Item = Folder> {
    CERTIFICATES
        .iter()
        .map(Path::new)
        .filter(|path| path.exists() && !path.is_symlink())
        .map(|path| Folder {
            path: path.to_owned(),
            writable: false,
        })
}

/// Starts the namespace's loopback, and hands a listener on it to the server over the call's channel. Returns its port.
pub(crate) fn offer(channel: BorrowedFd<'_>) -> Result<u16, Failed> {
    start_loopback().map_err(failed("loopback"))?;
    let step = "listener";
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed(step))?;
    let port = listener.local_addr().map_err(failed(step))?.port();
    let descriptors = [listener.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut extra = SendAncillaryBuffer::new(&mut space);
    if !extra.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        return Err(failed(step)("it does not fit"));
    }
    let text = u32::from(port).to_le_bytes();
    rustix::net::sendmsg(
        channel,
        &[IoSlice::new(&text)],
        &mut extra,
        SendFlags::NOSIGNAL,
    )
    .map_err(failed(step))?;
    Ok(port)
}

/// Asks the kernel to switch device 1 on, which is the loopback in every namespace: a message of rtnetlink(7).
fn start_loopback() -> io::Result<()> {
    const NEW_LINK: u16 = 16;
    const REQUEST_AND_ACKNOWLEDGE: u16 = 1 | 4;
    const UP: u32 = 1;
    let socket = rustix::net::socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        None,
    )?;
    let mut message = Vec::with_capacity(32);
    message.extend(32_u32.to_ne_bytes());
    message.extend(NEW_LINK.to_ne_bytes());
    message.extend(REQUEST_AND_ACKNOWLEDGE.to_ne_bytes());
    // Number of the message, and its sender: the kernel knows.
    message.extend([0; 8]);
    // Family and type of the device: any.
    message.extend([0; 4]);
    message.extend(1_u32.to_ne_bytes());
    // What it is to be, and what of that is to change.
    message.extend(UP.to_ne_bytes());
    message.extend(UP.to_ne_bytes());
    rustix::net::send(&socket, &message, SendFlags::empty())?;
    let mut answer = [0; 64];
    let (count, _) = rustix::net::recv(&socket, answer.as_mut_slice(), RecvFlags::empty())?;
    // After the header of 16 bytes stands the error, negative, or 0.
    let code = answer
        .get(16..20)
        .filter(|_| count >= 20)
        .and_then(|bytes| bytes.try_into().ok())
        .map(i32::from_ne_bytes);
    match code {
        Some(0) => Ok(()),
        Some(code) => Err(io::Error::from_raw_os_error(-code)),
        None => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// Takes the listener that a keeper offers, and serves it.
pub(crate) async fn accept(channel: &mut UnixStream, rules: Rules) -> Result<Proxy, SandboxError> {
    let step = "network";
    let (number, listener) = timeout(PATIENCE, hear(channel))
        .await
        .map_err(start_error(step))?
        .map_err(start_error(step))?;
    let Some(listener) = listener else {
        // It could not close itself in, and says why in a frame that begins with its length.
        let mut text = Vec::new();
        let rest = channel.take(u64::from(number.min(1 << 16)));
        tokio::pin!(rest);
        let _ = timeout(PATIENCE, rest.read_to_end(&mut text)).await;
        let reason = super::call::refused(&text);
        return Err(SandboxError::Start(
            reason.unwrap_or_else(|| "the keeper ended".to_owned()),
        ));
    };
    let listener = TcpListener::from(listener);
    listener.set_nonblocking(true).map_err(start_error(step))?;
    let listener = tokio::net::TcpListener::from_std(listener).map_err(start_error(step))?;
    let port = u16::try_from(number).map_err(start_error(step))?;
    Ok(Proxy::start(listener, port, rules))
}

async fn hear(channel: &UnixStream) -> io::Result<(u32, Option<OwnedFd>)> {
    let mut number = [0; 4];
    let (bytes, listener) = handing::receive(channel, &mut number).await?;
    if bytes < number.len() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok((u32::from_le_bytes(number), listener))
}
