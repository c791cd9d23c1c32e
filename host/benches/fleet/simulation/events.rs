//! What is to happen, in order.
//!
//! Enters: moments, and whose they are. Leaves: the earliest, to the millisecond; those of one millisecond in the order in
//! which they came in. A wheel: adding and taking cost the same however many there are.

use std::collections::VecDeque;
use std::time::Duration;

/// One for each millisecond; what lies further ahead goes round more than once.
const SLOTS: usize = 1 << 14;

struct Event {
    ms: u64,
    moment: Duration,
    whose: u32,
}

/// The queue.
pub(super) struct Events {
    slots: Vec<VecDeque<Event>>,
    /// The millisecond that is being looked at.
    now_ms: u64,
    waiting: u64,
}

impl Events {
    pub(super) fn new() -> Self {
        Events { slots: (0..SLOTS).map(|_| VecDeque::new()).collect(), now_ms: 0, waiting: 0 }
    }

    /// At that moment, or now if it is over.
    pub(super) fn add(&mut self, moment: Duration, whose: u32) {
        let ms = (moment.as_millis() as u64).max(self.now_ms);
        self.slots[ms as usize % SLOTS].push_back(Event { ms, moment, whose });
        self.waiting += 1;
    }

    /// The next one.
    pub(super) fn next(&mut self) -> Option<(Duration, u32)> {
        if self.waiting == 0 {
            return None;
        }
        loop {
            let now_ms = self.now_ms;
            let slot = &mut self.slots[now_ms as usize % SLOTS];
            // What is due comes in order; what is for a later round may lie before it.
            if let Some(due) = slot.iter().position(|event| event.ms == now_ms) {
                self.waiting -= 1;
                return slot.remove(due).map(|event| (event.moment, event.whose));
            }
            self.now_ms += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_come_in_order() {
        let mut events = Events::new();
        let ms = Duration::from_millis;
        let far = SLOTS as u64 * 3 + 5;
        for (moment, whose) in [(5, 0), (far, 1), (3, 2), (5, 3), (5 + SLOTS as u64, 4)] {
            events.add(ms(moment), whose);
        }
        assert_eq!(events.next(), Some((ms(3), 2)));
        assert_eq!(events.next(), Some((ms(5), 0)));
        // What is over comes now, and behind what was there.
        events.add(ms(1), 5);
        let rest: Vec<_> = std::iter::from_fn(|| events.next()).map(|(_, whose)| whose).collect();
        assert_eq!(rest, [3, 5, 4, 1]);
    }
}
