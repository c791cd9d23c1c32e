//! The admin page: whether the run is alive, whether it delivers, its metrics, and the status page, over plain HTTP.
//!
//! Enters: connections to ADMIN_ADDR. Leaves: `/live`, `/ready` ([`ready`]), `/metrics`; `/`, which is a page for people
//! (`page/`), and what it asks for each second: `status`, `search`, `seen`; and, by `monitor-host health`
//! ([`health`]), an exit status. A thread of its own serves it, with a runtime that has no other; it opens the one socket
//! of a run that listens.
//!
//! Never: changes anything, but which series are looked at ([`History`](crate::history::History)); shows a secret; keeps the run
//! from starting or from ending; waits for a stage of the path.

mod answer;
pub mod health;
mod plain;
pub mod ready;
mod search;
mod seen;
mod server;
mod status;

use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};

use self::search::Search;
use crate::config::{Config, Shown};
use crate::metrics::Observer;
use crate::metrics::facts::Connections;

/// What the run was told.
#[derive(Debug, Default)]
pub struct Known {
    /// READY_MAX_AGE_S.
    max_age: Duration,
    /// Whether SELF_METRICS shows the metrics here.
    shows_metrics: bool,
    /// INSTANCE.
    instance: String,
    /// REMOTE_WRITE_URL, without its credentials and its query.
    receiver_url: String,
    /// DRY_RUN.
    is_dry_run: bool,
    /// All settings, without secrets.
    settings: Vec<Shown>,
    /// When the run began, in milliseconds since the Unix epoch.
    began_ms: i64,
}

impl Known {
    /// READY_MAX_AGE_S, or what stands for it.
    pub fn max_age(&self) -> Duration {
        self.max_age
    }

    /// What of a configuration the page shows or judges by.
    pub fn of(config: &Config, began_ms: i64) -> Self {
        Known {
            max_age: config.ready_max_age.unwrap_or_else(|| ready::default_max_age(config.push_interval)),
            shows_metrics: config.self_metrics.are_shown(),
            instance: config.instance.clone(),
            receiver_url: config.url_for_log(),
            is_dry_run: config.dry_run,
            settings: config.shown.clone(),
            began_ms,
        }
    }
}

/// What the page is made of.
#[derive(Debug)]
struct Page {
    /// None until the plugin is made.
    observer: OnceLock<Arc<Observer>>,
    known: Known,
    connections: Arc<Connections>,
    search: Search,
    /// Somebody has just looked at series.
    looked: Notify,
    /// Only this machine can reach it.
    is_local: bool,
}

/// The page, served until this is dropped.
#[derive(Debug)]
pub struct Admin {
    page: Arc<Page>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Admin {
    /// Serves the page at this address. Where that can't be, it is told once, and the run goes on without.
    pub fn start(address: SocketAddr, known: Known, connections: Arc<Connections>) -> Option<Self> {
        let page = Arc::new(Page {
            observer: OnceLock::new(),
            known,
            connections,
            search: Search::default(),
            looked: Notify::new(),
            is_local: address.ip().to_canonical().is_loopback(),
        });
        let started = listen(address).and_then(|listener| {
            let in_use = listener.local_addr()?;
            let (stop, stopped) = oneshot::channel();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let own = Arc::clone(&page);
            let serve = move || runtime.block_on(server::serve(listener, own, stopped));
            let thread = thread::Builder::new().name("admin".to_owned()).spawn(serve)?;
            Ok((in_use, stop, thread))
        });
        match started {
            Ok((in_use, stop, thread)) => {
                tracing::info!(url = %format_args!("http://{in_use}"), "health and metrics are served");
                Some(Admin { page, stop: Some(stop), thread: Some(thread) })
            }
            Err(error) => {
                tracing::warn!(
                    "ADMIN_ADDR: {address} can't be listened on: {error}; the run goes on without health and metrics \
                     (another address, or off, ends this warning)"
                );
                None
            }
        }
    }

    /// From now on this run is looked at.
    pub fn watch(&self, observer: Arc<Observer>) {
        // There is one run in a process.
        let _ = self.page.observer.set(observer);
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        drop(self.stop.take());
        // It has nothing to finish: a panic of its own was told.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}
