//! A real exporter: Debian's node_exporter, which has much to tell of any machine.

use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Instant;

use crate::faults::LONG;
use crate::http;
use crate::process::Process;
use crate::receivers::fetch::{self, NODE_EXPORTER};
use crate::receivers::port::Port;

/// A running exporter; gone when dropped.
pub(crate) struct NodeExporter {
    _process: Process,
    port: Port,
}

impl NodeExporter {
    /// Starts it and waits until it answers. None, with one line that says so, where its package can't be had.
    pub(crate) fn start() -> Option<Self> {
        let binary = fetch::binary(NODE_EXPORTER)?;
        let port = Port::reserve().expect("a free port");
        let mut command = Command::new(binary);
        command.arg(format!("--web.listen-address={}", port.address()));
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let process = Process::spawn(&mut command).expect("an exporter that can be executed");
        let exporter = Self { _process: process, port };
        let start = Instant::now();
        while !http::request("GET", &exporter.url(), &[], &[]).is_ok_and(|answer| answer.status == 200) {
            assert!(start.elapsed() < LONG, "the exporter does not answer");
            // Readiness can be asked for, not awaited.
            thread::sleep(std::time::Duration::from_millis(20));
        }
        Some(exporter)
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// Where it is scraped.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/metrics", self.address())
    }
}
