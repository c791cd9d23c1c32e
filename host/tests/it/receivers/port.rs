//! A port that is a test's own for as long as it wants.
//!
//! Enters: nothing. Leaves: an address that others may listen on. Never: listens, accepts.
//!
//! A port that was merely found free can be taken by someone else before its process listens, or while that process is
//! stopped. A socket that is bound and does not listen keeps it: connections are refused, the kernel gives the number to
//! nobody, and a process that sets SO_REUSEADDR (Go's servers and tokio's listeners do) can listen beside it.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::TcpSocket;

/// A reserved port of the loopback interface.
pub(crate) struct Port {
    address: SocketAddr,
    _socket: TcpSocket,
}

impl Port {
    /// Takes a free one.
    pub(crate) fn reserve() -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind((Ipv4Addr::LOCALHOST, 0).into())?;
        Ok(Self { address: socket.local_addr()?, _socket: socket })
    }

    /// Where to listen and to connect to.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}
