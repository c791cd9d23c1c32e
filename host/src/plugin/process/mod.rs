//! The plugin in a process of its own: `PLUGIN_ISOLATION=process`.
//!
//! ```text
//!            the plugin's process                                          the host
//! get_power ─▶ raw queue ─▶ process_data ─▶ remote ─▶ frames ═ pipe ═▶ inbox ─▶ boundary ─▶ intake ─▶ processed queue
//!                 stop, answers   ◀─ control ═ pipe ═ parent
//! ```
//!
//! The pipe is the processed queue as the plugin sees it: a send is taken when its last byte is in the pipe. The host
//! reads it to its end whatever becomes of the process, so nothing that a plugin was told is sent can die with it. What
//! arrives is given to the same `boundary` that a plugin in our own process calls, so that one intake
//! judges both, and the ledger counts a sample from there on.
//!
//! Enters: a library's path. Leaves: [`Isolated`], which runs and ends like a plugin of our own process, and can be killed.
//! [`worker`] is the other side, in the same program.
//!
//! Never: waits for the plugin's process without an end; leaves it behind. It ends with the host however that ends: it
//! asks for that itself, and the thread that starts it lives as long as the run (the signal comes when that *thread* ends).
//! Programs that it starts are in its process group, and go with it as long as the host lives. It is no protection from
//! malice: the plugin is the same user, and may do what the host may.

mod codec;
mod fate;
mod frame;
mod inbox;
mod message;
mod parent;
mod pipe;
mod remote;
mod stderr;
pub mod worker;

pub(crate) use fate::words;
pub(crate) use parent::own_program;
pub use parent::{Isolated, RawBooks, Spawner};
pub(crate) use worker::end_with;
