//! A reference to a Python object, as the raw queue holds it.
//!
//! Enters: what the bridge gives. Leaves: the same, or the bridge is told that nobody wants it. Never: touches the object;
//! needs the interpreter's lock, on any thread, at any time.

use std::mem::ManuallyDrop;

use monitor_python_table::Item;

/// The reference, and who takes it back.
#[derive(Debug)]
pub(crate) struct Owned {
    item: ManuallyDrop<Item>,
    give_back: extern "C" fn(Item),
}

impl Owned {
    pub(crate) fn new(item: Item, give_back: extern "C" fn(Item)) -> Self {
        Owned { item: ManuallyDrop::new(item), give_back }
    }

    /// The reference; whoever called has it now.
    pub(crate) fn into_item(self) -> Item {
        let owned = ManuallyDrop::new(self);
        Item(owned.item.0)
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        (self.give_back)(Item(self.item.0));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    static GIVEN_BACK: AtomicUsize = AtomicUsize::new(0);

    extern "C" fn give_back(item: Item) {
        GIVEN_BACK.fetch_add(item.0 as usize, Ordering::Relaxed);
    }

    #[test]
    fn what_is_dropped_is_given_back_once() {
        let owned = |number: usize| Owned::new(Item(std::ptr::without_provenance_mut(number)), give_back);
        drop(owned(1));
        assert_eq!(owned(2).into_item().0 as usize, 2);
        drop(vec![owned(4), owned(8)]);
        assert_eq!(GIVEN_BACK.load(Ordering::Relaxed), 13);
    }
}
