//! Between an author's [`MonitorImpl`] and the boundary: threads, queue and stops put together, every panic caught.
//!
//! Enters: the host's calls. Leaves: results as plain values. Never: lets a panic or an author's type cross.

use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use abi_stable::library::{__call_root_module_loader, CheckTypeLayout, LibHeader, RootModuleResult};
use abi_stable::prefix_type::PrefixTypeTrait;
use abi_stable::sabi_trait::TD_Opaque;
use abi_stable::std_types::{RErr, ROk, RResult};

use crate::abi::{
    AbiError, HostBox, MonitorAbi, MonitorAbi_TO, MonitorBox, PluginModule, PluginModuleRef, RawQueueStats, failure,
    worker,
};
use crate::error::Error;
use crate::queue::{RawQueue, RawReceiver, RawSender};
use crate::sender::RecordSender;
use crate::stop::Stop;
use crate::{MonitorImpl, log};

/// The loader header that the macro exports for the plugin `T`.
pub const fn header<T: MonitorImpl>() -> LibHeader {
    // SAFETY: `root_module::<T>` yields a `PluginModuleRef`, the type whose layout the header will carry.
    unsafe { LibHeader::from_constructor::<PluginModuleRef>(root_module::<T>, CheckTypeLayout::Yes) }
}

extern "C" fn root_module<T: MonitorImpl>() -> RootModuleResult {
    __call_root_module_loader(|| PluginModule { create: create::<T> }.leak_into_prefix())
}

pub(crate) extern "C" fn create<T: MonitorImpl>(host: HostBox) -> RResult<MonitorBox, AbiError> {
    let made = guarded(|| {
        let host = Arc::new(host);
        log::connect(&host);
        let scrape_interval = Duration::from_nanos(host.scrape_interval_ns());
        let raw = RawQueue::new(host.raw_queue_size());
        let monitor = ManuallyDrop::new(T::new()?);
        let stops = [Stop::new(), Stop::new()];
        Ok(Adapter { monitor, host, raw, stops, scrape_interval })
    });
    made.map(|adapter| MonitorAbi_TO::from_value(adapter, TD_Opaque))
}

struct Adapter<T: MonitorImpl> {
    monitor: ManuallyDrop<T>,
    host: Arc<HostBox>,
    raw: Arc<RawQueue<T::Raw>>,
    /// By [`worker`].
    stops: [Stop; 2],
    scrape_interval: Duration,
}

impl<T: MonitorImpl> MonitorAbi for Adapter<T> {
    fn get_power(&self) -> RResult<(), AbiError> {
        let stop = self.stops[worker::GET_POWER as usize].clone();
        let ended = guarded(|| self.monitor.get_power(RawSender(Arc::clone(&self.raw)), self.scrape_interval, stop));
        // However it ended: nothing more is read, and `process_data` finishes what there is.
        self.raw.close();
        ended
    }

    fn process_data(&self) -> RResult<(), AbiError> {
        let stop = self.stops[worker::PROCESS_DATA as usize].clone();
        let input = RawReceiver { queue: Arc::clone(&self.raw), stop: stop.clone() };
        let out = RecordSender::new(Arc::clone(&self.host));
        guarded(|| self.monitor.process_data(input, out, stop))
    }

    fn stop(&self, worker: i32) {
        if let Some(stop) = usize::try_from(worker).ok().and_then(|worker| self.stops.get(worker)) {
            stop.set();
            self.raw.wake();
        }
    }

    fn raw_queue(&self) -> RawQueueStats {
        self.raw.stats()
    }
}

impl<T: MonitorImpl> Drop for Adapter<T> {
    fn drop(&mut self) {
        let dropped = guarded(|| {
            // SAFETY: `monitor` is dropped here only, and the adapter is not used after its drop.
            unsafe { ManuallyDrop::drop(&mut self.monitor) };
            Ok(())
        });
        if let RErr(error) = dropped {
            tracing::error!("the plugin failed while it was taken down: {}", error.message);
        }
    }
}

/// Runs the author's code; what it returns or panics with becomes a plain value.
fn guarded<R>(run: impl FnOnce() -> Result<R, Error>) -> RResult<R, AbiError> {
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(Ok(value)) => ROk(value),
        Ok(Err(error)) => {
            RErr(AbiError { failure: failure::ERROR, message: error.to_string().into(), detail: Default::default() })
        }
        Err(payload) => {
            // Dropping what a panic carries runs the author's code again, unguarded.
            std::mem::forget(payload);
            let report = log::take_panic();
            let (message, backtrace) = report.map(|r| (r.message, r.backtrace)).unwrap_or_default();
            let message = if message.is_empty() { "panicked".to_owned() } else { message };
            RErr(AbiError { failure: failure::PANIC, message: message.into(), detail: backtrace.into() })
        }
    }
}
