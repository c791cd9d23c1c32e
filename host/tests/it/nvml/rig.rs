//! A machine with GPUs, as a library shows it that plays NVML (`player.c`).
//!
//! Enters: what each GPU shows, and which calls fail, at any time of a run. Leaves: a host with the plugin that sees them, and
//! the calls that it has made. Never: needs a GPU, or a driver.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, OnceLock, PoisonError};

use crate::host::Host;
use crate::plugins;

/// The driver's file: by key, the values of its lines.
pub(super) type Shown = BTreeMap<String, Vec<String>>;

/// A machine with GPUs.
pub(crate) struct Rig {
    dir: tempfile::TempDir,
    shown: Mutex<Shown>,
}

/// The uuid of a GPU of the rig.
pub(super) fn uuid(gpu: u32) -> String {
    format!("GPU-{gpu:08x}-1111-2222-3333-444444444444")
}

/// What the rig's GPUs are called.
pub(super) const MODEL: &str = "NVIDIA Player 100";

impl Rig {
    /// So many GPUs that offer all there is, each with figures of its own.
    pub(crate) fn new(gpus: u32) -> Self {
        let rig = Rig { dir: tempfile::tempdir().unwrap(), shown: Mutex::default() };
        rig.change(|shown| {
            set(shown, "gpus", gpus);
            set(shown, "driver", "570.01.02");
            (0..gpus).for_each(|gpu| add(shown, gpu));
        });
        rig
    }

    /// Changes what is shown, all at once.
    pub(super) fn change(&self, change: impl FnOnce(&mut Shown)) {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut shown);
        let lines = shown.iter().flat_map(|(key, values)| values.iter().map(move |value| format!("{key} {value}\n")));
        let next = self.dir.path().join("next");
        fs::write(&next, lines.collect::<String>()).unwrap();
        fs::rename(next, self.file()).unwrap();
    }

    /// Shows one value.
    pub(crate) fn set(&self, key: &str, value: impl ToString) {
        self.change(|shown| set(shown, key, value));
    }

    /// Shows it no more.
    pub(super) fn unset(&self, key: &str) {
        self.change(|shown| drop(shown.remove(key)));
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("shown")
    }

    /// How often a function was called; of one device, where one is named.
    pub(super) fn calls(&self, symbol: &str, device: Option<&str>) -> usize {
        let calls = fs::read_to_string(self.dir.path().join("shown.calls")).unwrap_or_default();
        let of = |line: &&str| {
            line.split_once(' ')
                .is_some_and(|(called, who)| called == symbol && device.is_none_or(|device| device == who))
        };
        calls.lines().filter(of).count()
    }

    /// A host with the plugin: a hundred readings a second, fifty of what changes slowly, ten looks for GPUs.
    pub(super) fn host(&self, url: &str) -> Host {
        self.seen_by(Host::new()).env("REMOTE_WRITE_URL", url).env("PUSH_INTERVAL_S", "0.1")
    }

    /// What leads the plugin here.
    pub(crate) fn variables(&self) -> [(&'static str, PathBuf); 2] {
        [("NVML_LIBRARY", player().to_owned()), ("NVML_PLAYER", self.file())]
    }

    /// Any run of the host's, with the plugin.
    pub(super) fn seen_by(&self, host: Host) -> Host {
        let host = host.env("MONITOR_IMPL_PATH", plugins::so("monitor-nvml"));
        self.variables()
            .into_iter()
            .fold(host, |host, (name, value)| host.env(name, value))
            .env("NVML_SLOW_INTERVAL_S", "0.02")
            .env("NVML_RESCAN_S", "0.1")
            .env("SCRAPE_INTERVAL_S", "0.01")
    }
}

/// Shows one value.
pub(super) fn set(shown: &mut Shown, key: &str, value: impl ToString) {
    shown.insert(key.to_owned(), vec![value.to_string()]);
}

/// Shows a GPU that offers all there is.
pub(super) fn add(shown: &mut Shown, gpu: u32) {
    let number = u64::from(gpu);
    set(shown, &format!("{gpu}.uuid"), uuid(gpu));
    set(shown, &format!("{gpu}.name"), MODEL);
    shown.insert(format!("{gpu}.sample"), vec!["0 0".to_owned()]);
    for (key, value) in [
        ("capability", 90),
        ("energy", 7_000_000_000 + number),
        ("field186", 251_000 + number),
        ("field185", 240_500 + number),
        ("power_usage", 239_000 + number),
        ("utilization", 37 + number),
        ("memory_utilization", 12 + number),
        ("memory_used", 3_000_000_000 + number),
        ("memory_total", 80_000_000_000),
        ("temperature", 61 + number),
        ("clock0", 1410 + number),
        ("clock1", 1420 + number),
        ("clock2", 1593 + number),
        ("clock3", 1275 + number),
        // Held down by the power cap and by its temperature.
        ("throttle", 0x04 | 0x20),
        ("mig", 0),
    ] {
        set(shown, &format!("{gpu}.{key}"), value);
    }
}

/// The library, compiled once a run.
pub(super) fn player() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/nvml/player.c");
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let (ready, mine) = (folder.join("libplayer.so"), folder.join(format!("libplayer-{}.so", std::process::id())));
        // What links Rust programs compiles this, too.
        let mut cc = Command::new(std::env::var_os("CC").unwrap_or_else(|| "cc".into()));
        cc.args(["-std=gnu11", "-Wall", "-Wextra", "-O1", "-shared", "-fPIC", "-o"]).arg(&mine).arg(source);
        let status = cc.arg("-lpthread").status().expect("a C compiler can be run");
        assert!(status.success(), "{cc:?}");
        fs::rename(mine, &ready).unwrap();
        ready
    })
}
