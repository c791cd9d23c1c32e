//! Reading all counters at once, again and again.
//!
//! Enters: the domains of this machine. Leaves: one sweep a time: what each counter showed, or the error in its place. Files
//! stay open and are read from their beginning: a twentieth of the cost of opening them each time.
//!
//! Never: waits; allocates for a read; lets one bad counter spoil the others.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::zones::Zone;

/// A file that failed is opened again after so long: a package that is back, permissions that were mended.
const AGAIN_AFTER: Duration = Duration::from_secs(5);

/// What one sweep gave, counter by counter in the order of the zones: microjoules, or the error's number.
pub(crate) type Readings = Vec<Result<u64, i32>>;

/// Something that shows a number: a file here, anything in a test.
pub(crate) trait Counts {
    /// What it shows now, in microjoules.
    ///
    /// # Errors
    /// The system's own.
    fn read(&self) -> io::Result<u64>;
}

impl Counts for File {
    fn read(&self) -> io::Result<u64> {
        // 20 digits and a line's end are the longest that a 64-bit number can be.
        let mut text = [0; 24];
        let length = self.read_at(&mut text, 0)?;
        parse(&text[..length]).ok_or_else(|| io::Error::from_raw_os_error(NOT_A_NUMBER))
    }
}

/// EINVAL stands for a counter that shows something else than a number.
const NOT_A_NUMBER: i32 = 22;

fn parse(text: &[u8]) -> Option<u64> {
    let digits = text.trim_ascii();
    let number = digits.iter().try_fold(0u64, |number, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    });
    number.filter(|_| !digits.is_empty())
}

/// The counters, open.
pub(crate) struct Sweeper<C = File> {
    zones: Arc<[Zone]>,
    open: fn(&Zone) -> io::Result<C>,
    /// By zone: the open counter, or why there is none.
    counters: Vec<Result<C, i32>>,
    try_again: Option<Instant>,
}

impl<C: Counts> Sweeper<C> {
    /// Opens all of them; those that can't be opened now are tried again later.
    pub(crate) fn new(zones: Arc<[Zone]>, open: fn(&Zone) -> io::Result<C>) -> Self {
        let counters: Vec<_> = zones.iter().map(|zone| open(zone).map_err(number)).collect();
        let try_again = counters.iter().any(Result::is_err).then(|| Instant::now() + AGAIN_AFTER);
        Sweeper { zones, open, counters, try_again }
    }

    /// Whether no counter could be opened.
    pub(crate) fn is_blind(&self) -> bool {
        self.counters.iter().all(Result::is_err)
    }

    /// The counters that could not be opened, each with the error's number.
    pub(crate) fn closed(&self) -> impl Iterator<Item = (&Zone, i32)> {
        self.zones.iter().zip(&self.counters).filter_map(|(zone, counter)| Some((zone, *counter.as_ref().err()?)))
    }

    /// Reads all counters.
    pub(crate) fn sweep(&mut self, now: Instant) -> Readings {
        if self.try_again.is_some_and(|again| again <= now) {
            for (counter, zone) in self.counters.iter_mut().zip(&*self.zones) {
                if counter.is_err() {
                    *counter = (self.open)(zone).map_err(number);
                }
            }
            self.try_again = None;
        }
        let mut readings = Vec::with_capacity(self.counters.len());
        for counter in &mut self.counters {
            let reading = match counter {
                Ok(open) => open.read().map_err(number),
                Err(why) => Err(*why),
            };
            if let Err(why) = reading {
                // The device behind the file may have gone: a new file, later, shows whether it is back.
                *counter = Err(why);
                self.try_again.get_or_insert(now + AGAIN_AFTER);
            }
            readings.push(reading);
        }
        readings
    }
}

fn number(error: io::Error) -> i32 {
    error.raw_os_error().unwrap_or(NOT_A_NUMBER)
}

/// The name of an error's number, as the system's manual has it.
pub(crate) fn errno(number: i32) -> String {
    let name = match number {
        1 => "EPERM",
        2 => "ENOENT",
        5 => "EIO",
        6 => "ENXIO",
        13 => "EACCES",
        19 => "ENODEV",
        21 => "EISDIR",
        22 => "EINVAL",
        24 => "EMFILE",
        61 => "ENODATA",
        other => return format!("errno {other}"),
    };
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Tree;
    use crate::zones::discover;

    fn open(zone: &Zone) -> io::Result<File> {
        File::open(&zone.counter)
    }

    fn sweeper(tree: &Tree) -> Sweeper {
        Sweeper::new(discover(tree.root()).unwrap().zones.into(), open)
    }

    #[test]
    fn numbers_and_nothing_else() {
        assert_eq!(parse(b"18446744073709551615\n"), Some(u64::MAX));
        assert_eq!(parse(b"007"), Some(7));
        for bad in [&b""[..], b"\n", b"-1\n", b"1 2", b"18446744073709551616\n"] {
            assert_eq!(parse(bad), None);
        }
    }

    #[test]
    fn a_kept_descriptor_sees_each_value() {
        let tree = Tree::new();
        tree.zone("intel-rapl:0", "package-0").zone("intel-rapl:1", "package-1");
        let mut sweeper = sweeper(&tree);
        for uj in [0, 5, 4_999_999, 12] {
            tree.shows("intel-rapl:1", uj);
            assert_eq!(sweeper.sweep(Instant::now()), [Ok(0), Ok(uj)]);
        }
    }

    #[test]
    fn one_bad_counter_spoils_no_other_and_is_opened_again() {
        let tree = Tree::new();
        tree.zone("intel-rapl:0", "package-0").zone("intel-rapl:1", "package-1");
        // A file of the kernel's that can be opened, and gives EIO when it is read there.
        tree.remove("intel-rapl:0", "energy_uj");
        std::os::unix::fs::symlink("/proc/self/mem", tree.file("intel-rapl:0", "energy_uj")).unwrap();
        let mut sweeper = sweeper(&tree);
        let now = Instant::now();
        assert_eq!(sweeper.sweep(now), [Err(5), Ok(0)]);
        assert_eq!(errno(5), "EIO");
        tree.remove("intel-rapl:0", "energy_uj");
        tree.shows("intel-rapl:0", 7);
        assert_eq!(sweeper.sweep(now), [Err(5), Ok(0)], "not yet");
        assert_eq!(sweeper.sweep(now + AGAIN_AFTER), [Ok(7), Ok(0)]);
    }
}
