//! The threads of this process, as Linux lists them. Enters: nothing. Leaves: their names. Never: touches one.

use std::collections::BTreeMap;
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

/// A thread that was joined is still listed for a moment.
const MOMENT: Duration = Duration::from_millis(5);

/// By number, each with its name; none where there is no `/proc`.
pub(super) type Threads = BTreeMap<u32, String>;

/// Those that run now.
pub(super) fn all() -> Option<Threads> {
    let tasks = fs::read_dir("/proc/self/task").ok()?;
    let named = tasks.filter_map(|task| {
        let task = task.ok()?;
        let number = task.file_name().to_str()?.parse().ok()?;
        // Without a name: it has ended meanwhile.
        let name = fs::read_to_string(task.path().join("comm")).ok()?;
        Some((number, name.trim_end().to_owned()))
    });
    Some(named.collect())
}

/// Those that run and did not run `before`, once there is none or `patience` is over.
pub(super) fn new_since(before: &Threads, patience: Duration) -> Option<Threads> {
    let deadline = Instant::now() + patience;
    loop {
        let mut threads = all()?;
        threads.retain(|number, _| !before.contains_key(number));
        if threads.is_empty() || Instant::now() >= deadline {
            return Some(threads);
        }
        thread::sleep(MOMENT);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn a_thread_that_stays_is_seen_and_one_that_ends_is_not() {
        let before = all().unwrap();
        assert!(!before.is_empty());
        thread::spawn(|| {}).join().unwrap();
        let (stay, stays) = mpsc::channel::<()>();
        let staying = thread::Builder::new().name("stays".into()).spawn(move || stays.recv().is_err()).unwrap();
        // Other tests' threads come and go beside it.
        let new = new_since(&before, Duration::from_millis(100)).unwrap();
        assert!(new.values().any(|name| name == "stays"), "{new:?}");
        drop(stay);
        assert!(staying.join().unwrap());
    }
}
