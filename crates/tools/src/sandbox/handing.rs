//! Receiving what a process hands over: words and a descriptor in one message.

use std::{
    io::{self, IoSliceMut},
    mem::MaybeUninit,
    os::fd::OwnedFd,
};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};
use tokio::{io::Interest, net::UnixStream};

/// Waits for a message, and puts its words into `words`. How many bytes they are, and the descriptor that came with them.
pub(crate) async fn receive(
    channel: &UnixStream,
    words: &mut [u8],
) -> io::Result<(usize, Option<OwnedFd>)> {
    channel
        .async_io(Interest::READABLE, || {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut extra = RecvAncillaryBuffer::new(&mut space);
            let message = rustix::net::recvmsg(
                channel,
                &mut [IoSliceMut::new(&mut *words)],
                &mut extra,
                RecvFlags::CMSG_CLOEXEC,
            )?;
            let mut descriptors = extra.drain().filter_map(|one| match one {
                RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
                _ => None,
            });
            let handed = descriptors.next().and_then(|mut all| all.next());
            Ok((message.bytes, handed))
        })
        .await
}
