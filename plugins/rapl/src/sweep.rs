//! Reading all counters at once, again and again.
//!
//! Enters: the root of a sysfs, and the domains that were found there. Leaves: one sweep a time: what each counter showed, or
//! the error in its place. Files stay open and are read from their beginning: a twentieth of the cost of opening them each
//! time. [`Sweeper::look_around`], between two sweeps, opens again what failed, and finds what came, went, or moved.
//!
//! Never: waits; allocates for a read; lets one bad counter spoil the others; gives a domain another place in a sweep.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::zones::{self, Zone};

/// How soon after a first failure the zones are looked at again: a device that is gone, or came back as another one.
const SOON: Duration = Duration::from_secs(1);

/// And how often as long as something is amiss.
const WHILE_AMISS: Duration = Duration::from_secs(5);

/// And when all is well: a package that was offline at the start.
const WHEN_WELL: Duration = Duration::from_secs(60);

/// What one counter gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    /// So many microjoules.
    Uj(u64),
    /// It is there and can't be read, with the error's number.
    Failed(i32),
    /// Powercap does not show it any more.
    Gone,
}

/// One counter's file.
struct Slot {
    /// Open, or why it is not.
    file: Result<File, i32>,
    /// The last read failed; the file is kept, because the next one may not.
    failing: bool,
    gone: bool,
}

impl Slot {
    fn open(zone: &Zone) -> Self {
        Slot { file: File::open(&zone.counter).map_err(number), failing: false, gone: false }
    }

    fn is_well(&self) -> bool {
        self.file.is_ok() && !self.failing && !self.gone
    }

    fn read(&mut self) -> Reading {
        if self.gone {
            return Reading::Gone;
        }
        let reading = match &self.file {
            Ok(file) => read(file).map_err(number),
            Err(why) => Err(*why),
        };
        self.failing = reading.is_err();
        reading.map_or_else(Reading::Failed, Reading::Uj)
    }
}

fn read(file: &File) -> io::Result<u64> {
    // 20 digits and a line's end are the longest that a 64-bit number can be.
    let mut text = [0; 24];
    let length = file.read_at(&mut text, 0)?;
    parse(&text[..length]).ok_or_else(|| io::Error::from_raw_os_error(NOT_A_NUMBER))
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
pub(crate) struct Sweeper {
    root: PathBuf,
    zones: Arc<[Zone]>,
    /// By zone.
    slots: Vec<Slot>,
    next_look: Instant,
}

impl Sweeper {
    /// Opens all of them; those that can't be opened now are tried again later.
    pub(crate) fn new(root: PathBuf, zones: Arc<[Zone]>, now: Instant) -> Self {
        let slots = zones.iter().map(Slot::open).collect();
        let mut sweeper = Sweeper { root, zones, slots, next_look: now };
        sweeper.look_again(now);
        sweeper
    }

    /// Whether no counter could be opened.
    pub(crate) fn is_blind(&self) -> bool {
        self.slots.iter().all(|slot| slot.file.is_err())
    }

    /// The counters that could not be opened, each with the error's number.
    pub(crate) fn closed(&self) -> impl Iterator<Item = (&Zone, i32)> {
        self.zones.iter().zip(&self.slots).filter_map(|(zone, slot)| Some((zone, *slot.file.as_ref().err()?)))
    }

    /// The domains in the order of the readings: one that is found later comes behind the others, and none ever leaves.
    pub(crate) fn zones(&self) -> Arc<[Zone]> {
        Arc::clone(&self.zones)
    }

    /// Reads all counters.
    pub(crate) fn sweep(&mut self, now: Instant) -> Vec<Reading> {
        let mut readings = Vec::with_capacity(self.slots.len());
        for slot in &mut self.slots {
            let was_well = slot.is_well();
            readings.push(slot.read());
            if was_well && slot.failing {
                self.next_look = self.next_look.min(now + SOON);
            }
        }
        readings
    }

    /// Looks at the zones again, where it is time to: takes some file operations a zone.
    pub(crate) fn look_around(&mut self, now: Instant) {
        if now < self.next_look {
            return;
        }
        let found = zones::discover(&self.root).map(|found| found.zones).unwrap_or_default();
        let mut zones = self.zones.to_vec();
        let mut seen = vec![false; zones.len()];
        for zone in found {
            // Who is read is who he was, whatever name would be given to him today.
            let reads_it = |i: &usize| self.slots[*i].is_well() && zones[*i].counter == zone.counter;
            let known = (0..self.slots.len()).find(reads_it);
            match known.or_else(|| zones.iter().position(|known| known.domain == zone.domain)) {
                Some(i) => {
                    seen[i] = true;
                    if !self.slots[i].is_well() {
                        self.slots[i] = Slot::open(&zone);
                        zones[i] = zone;
                    }
                }
                None => {
                    self.slots.push(Slot::open(&zone));
                    seen.push(true);
                    zones.push(zone);
                }
            }
        }
        for (slot, seen) in self.slots.iter_mut().zip(seen) {
            if !seen && !slot.is_well() {
                *slot = Slot { file: Err(NO_DEVICE), failing: false, gone: true };
            }
        }
        if zones != *self.zones {
            self.zones = zones.into();
        }
        self.look_again(now);
    }

    fn look_again(&mut self, now: Instant) {
        let all_well = self.slots.iter().all(Slot::is_well);
        self.next_look = now + if all_well { WHEN_WELL } else { WHILE_AMISS };
    }
}

/// ENODEV.
const NO_DEVICE: i32 = 19;

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
        11 => "EAGAIN",
        12 => "ENOMEM",
        13 => "EACCES",
        16 => "EBUSY",
        19 => "ENODEV",
        21 => "EISDIR",
        22 => "EINVAL",
        23 => "ENFILE",
        24 => "EMFILE",
        61 => "ENODATA",
        110 => "ETIMEDOUT",
        other => return format!("errno {other}"),
    };
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use Reading::{Failed, Gone, Uj};

    use super::*;
    use crate::tree::Tree;
    use crate::zones::discover;

    fn sweeper(tree: &Tree) -> (Sweeper, Instant) {
        let now = Instant::now();
        (Sweeper::new(tree.root().into(), discover(tree.root()).unwrap().zones.into(), now), now)
    }

    fn domains(sweeper: &Sweeper) -> Vec<String> {
        sweeper.zones().iter().map(|zone| zone.domain.clone()).collect()
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
        let (mut sweeper, now) = sweeper(&tree);
        for uj in [0, 5, 4_999_999, 12] {
            tree.shows("intel-rapl:1", uj);
            assert_eq!(sweeper.sweep(now), [Uj(0), Uj(uj)]);
        }
    }

    #[test]
    fn one_bad_counter_spoils_no_other_and_is_opened_again() {
        let tree = Tree::new();
        tree.zone("intel-rapl:0", "package-0").zone("intel-rapl:1", "package-1");
        // A file of the kernel's that can be opened, and gives EIO when it is read there.
        tree.remove("intel-rapl:0", "energy_uj");
        std::os::unix::fs::symlink("/proc/self/mem", tree.file("intel-rapl:0", "energy_uj")).unwrap();
        let (mut sweeper, now) = sweeper(&tree);
        assert_eq!(sweeper.sweep(now), [Failed(5), Uj(0)]);
        assert_eq!(errno(5), "EIO");
        tree.remove("intel-rapl:0", "energy_uj");
        tree.shows("intel-rapl:0", 7);
        sweeper.look_around(now);
        assert_eq!(sweeper.sweep(now), [Failed(5), Uj(0)], "not yet");
        sweeper.look_around(now + SOON);
        assert_eq!(sweeper.sweep(now + SOON), [Uj(7), Uj(0)]);
    }

    #[test]
    fn one_bad_read_costs_one_reading() {
        let tree = Tree::new();
        tree.zone("intel-rapl:0", "package-0");
        let (mut sweeper, now) = sweeper(&tree);
        tree.shows_text("intel-rapl:0", "no number at all      ");
        assert_eq!(sweeper.sweep(now), [Failed(22)]);
        tree.shows("intel-rapl:0", 9);
        assert_eq!(sweeper.sweep(now), [Uj(9)]);
    }

    #[test]
    fn a_zone_that_goes_and_comes_back_elsewhere_keeps_its_place() {
        let tree = Tree::new();
        tree.zone("intel-rapl:0", "package-0").zone("intel-rapl:1", "package-1").shows("intel-rapl:1", 3);
        let (mut sweeper, now) = sweeper(&tree);
        // What the kernel does with a descriptor of a device that is gone, as far as a file can do it.
        tree.shows_text("intel-rapl:0", "                     ");
        assert_eq!(sweeper.sweep(now), [Failed(22), Uj(3)]);
        tree.remove_zone("intel-rapl:0");
        sweeper.look_around(now + SOON);
        assert_eq!(sweeper.sweep(now + SOON), [Gone, Uj(3)]);
        // Another package lies now where it lay, and it lies where none did.
        tree.zone("intel-rapl:0", "package-2").zone("intel-rapl:7", "package-0").shows("intel-rapl:7", 5);
        let later = now + SOON + WHILE_AMISS;
        sweeper.look_around(later);
        assert_eq!(sweeper.sweep(later), [Uj(5), Uj(3), Uj(0)]);
        assert_eq!(domains(&sweeper), ["package-0", "package-1", "package-2"]);
    }

    #[test]
    fn a_zone_that_was_offline_at_the_start_is_found() {
        let tree = Tree::new();
        tree.zone("intel-rapl:0", "package-1");
        let (mut sweeper, now) = sweeper(&tree);
        tree.zone("intel-rapl:1", "package-0").shows("intel-rapl:1", 8);
        assert_eq!(sweeper.sweep(now), [Uj(0)]);
        sweeper.look_around(now + WHEN_WELL);
        assert_eq!(sweeper.sweep(now), [Uj(0), Uj(8)]);
        assert_eq!(domains(&sweeper), ["package-1", "package-0"]);
    }

    #[test]
    fn of_two_with_one_name_the_one_that_stays_is_not_renamed() {
        let tree = Tree::new();
        tree.zone("intel-rapl:0", "psys").zone("intel-rapl:1", "psys").shows("intel-rapl:1", 4);
        let (mut sweeper, now) = sweeper(&tree);
        tree.shows_text("intel-rapl:0", "                     ");
        assert_eq!(sweeper.sweep(now), [Failed(22), Uj(4)]);
        tree.remove_zone("intel-rapl:0");
        sweeper.look_around(now + SOON);
        assert_eq!((sweeper.sweep(now), domains(&sweeper)), (vec![Gone, Uj(4)], vec!["psys".into(), "psys-1".into()]));
    }
}
