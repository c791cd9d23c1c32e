//! What a GPU is asked for, and the series that the answers belong to.
//!
//! Enters: nothing but names. Leaves: for each series its name, labels, type, unit and help. Never: asks anything.

use monitor_plugin_api::SeriesSpec;
use nvml_wrapper::bitmasks::device::ThrottleReasons;
use nvml_wrapper::enum_wrappers::device::Clock;

/// One thing that NVML is asked for: each has errors of its own, and is offered by a GPU or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Field {
    Energy,
    PowerInstant,
    PowerAverage,
    PowerUsage,
    PowerSamples,
    Utilization,
    Memory,
    Temperature,
    ClockGraphics,
    ClockSm,
    ClockMemory,
    ClockVideo,
    ThrottleReasons,
    Instances,
    Discovery,
}

impl Field {
    /// Its name in the log and in the label `field`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Field::Energy => "energy",
            Field::PowerInstant => "power_instant",
            Field::PowerAverage => "power_average",
            Field::PowerUsage => "power_usage",
            Field::PowerSamples => "power_samples",
            Field::Utilization => "utilization",
            Field::Memory => "memory",
            Field::Temperature => "temperature",
            Field::ClockGraphics => "clock_graphics",
            Field::ClockSm => "clock_sm",
            Field::ClockMemory => "clock_memory",
            Field::ClockVideo => "clock_video",
            Field::ThrottleReasons => "throttle_reasons",
            Field::Instances => "mig_instances",
            Field::Discovery => "discovery",
        }
    }
}

/// A set of fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fields(u32);

impl Fields {
    pub(crate) fn insert(&mut self, field: Field) {
        self.0 |= 1 << field as u32;
    }

    pub(crate) fn contains(self, field: Field) -> bool {
        self.0 & 1 << field as u32 != 0
    }
}

/// The four clocks of a GPU.
pub(crate) const CLOCKS: [(Field, Clock, &str); 4] = [
    (Field::ClockGraphics, Clock::Graphics, "graphics"),
    (Field::ClockSm, Clock::SM, "sm"),
    (Field::ClockMemory, Clock::Memory, "memory"),
    (Field::ClockVideo, Clock::Video, "video"),
];

/// Why a GPU's clocks are not as high as they could be.
pub(crate) const REASONS: [(ThrottleReasons, &str); 9] = [
    (ThrottleReasons::GPU_IDLE, "gpu_idle"),
    (ThrottleReasons::APPLICATIONS_CLOCKS_SETTING, "applications_clocks_setting"),
    (ThrottleReasons::SW_POWER_CAP, "sw_power_cap"),
    (ThrottleReasons::HW_SLOWDOWN, "hw_slowdown"),
    (ThrottleReasons::SYNC_BOOST, "sync_boost"),
    (ThrottleReasons::SW_THERMAL_SLOWDOWN, "sw_thermal_slowdown"),
    (ThrottleReasons::HW_THERMAL_SLOWDOWN, "hw_thermal_slowdown"),
    (ThrottleReasons::HW_POWER_BRAKE_SLOWDOWN, "hw_power_brake_slowdown"),
    (ThrottleReasons::DISPLAY_CLOCK_SETTING, "display_clock_setting"),
];

/// How a power was measured: the label `method`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Method {
    /// At the moment of the reading.
    Instant,
    /// Over the second before it.
    Average,
    /// By the driver on its own account, at the sample's own time.
    Buffered,
    /// The driver does not say.
    Unspecified,
}

/// One series of a GPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Key {
    Energy,
    /// And the field that it comes from.
    Power(Method, Field),
    Utilization,
    MemoryUtilization,
    MemoryUsed,
    MemoryTotal,
    Temperature,
    /// By its place in [`CLOCKS`].
    Clock(usize),
    /// By its place in [`REASONS`].
    Reason(usize),
}

impl Key {
    /// The field that gives it.
    pub(crate) fn field(self) -> Field {
        match self {
            Key::Energy => Field::Energy,
            Key::Power(_, field) => field,
            Key::Utilization | Key::MemoryUtilization => Field::Utilization,
            Key::MemoryUsed | Key::MemoryTotal => Field::Memory,
            Key::Temperature => Field::Temperature,
            Key::Clock(place) => CLOCKS[place].0,
            Key::Reason(_) => Field::ThrottleReasons,
        }
    }

    /// What the series is, less the labels that say whose it is. An instance is a part of its GPU, which counts the same
    /// again: its series have names of their own.
    pub(crate) fn spec(self, is_instance: bool) -> SeriesSpec {
        let gauge = |name: &str, unit: &str, help: &str| {
            SeriesSpec::gauge(format!("monitor_gpu_{name}_{unit}")).unit(unit).help(help)
        };
        match self {
            Key::Energy => SeriesSpec::counter("monitor_energy_joules_total")
                .unit("joules")
                .help("Energy spent, by parts that do not overlap."),
            Key::Power(method, _) => SeriesSpec::gauge("monitor_power_watts")
                .unit("watts")
                .label("method", method.name())
                .help("Power drawn, by the way in which it is measured."),
            Key::Utilization => gauge("utilization", "ratio", "Share of time in which a kernel ran."),
            Key::MemoryUtilization => {
                gauge("memory_utilization", "ratio", "Share of time in which memory was read or written.")
            }
            Key::MemoryUsed if is_instance => gauge("instance_memory_used", "bytes", "Memory in use in an instance."),
            Key::MemoryTotal if is_instance => gauge("instance_memory_total", "bytes", "Memory of an instance."),
            Key::MemoryUsed => gauge("memory_used", "bytes", "Memory in use, less what the driver reserves."),
            Key::MemoryTotal => gauge("memory_total", "bytes", "Memory of the GPU."),
            Key::Temperature => gauge("temperature", "celsius", "Temperature of the GPU's die."),
            Key::Clock(place) => gauge("clock", "hertz", "Present frequency.").label("clock", CLOCKS[place].2),
            Key::Reason(place) => SeriesSpec::gauge("monitor_gpu_throttle_reason")
                .label("reason", REASONS[place].1)
                .help("1 while the clocks are held down for this reason."),
        }
    }
}

impl Method {
    fn name(self) -> &'static str {
        match self {
            Method::Instant => "instant",
            Method::Average => "avg",
            Method::Buffered => "buffered",
            Method::Unspecified => "unspecified",
        }
    }
}
