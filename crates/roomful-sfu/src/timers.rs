//! Deadlines by key: the earliest one first, at most one per key.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

/// A set of deadlines. Setting one replaces the key's former one.
#[derive(Debug, Clone)]
pub(crate) struct Timers<K> {
    by_key: BTreeMap<K, Instant>,
    by_time: BTreeSet<(Instant, K)>,
}

impl<K: Copy + Ord> Timers<K> {
    pub(crate) fn new() -> Self {
        Self { by_key: BTreeMap::new(), by_time: BTreeSet::new() }
    }

    /// Sets, moves or (with `None`) clears the deadline of `key`.
    pub(crate) fn set(&mut self, key: K, at: Option<Instant>) {
        let former = match at {
            Some(at) => self.by_key.insert(key, at),
            None => self.by_key.remove(&key),
        };
        if former == at {
            return;
        }
        if let Some(former) = former {
            self.by_time.remove(&(former, key));
        }
        if let Some(at) = at {
            self.by_time.insert((at, key));
        }
    }

    /// Whether `key` has a deadline.
    pub(crate) fn is_set(&self, key: K) -> bool {
        self.by_key.contains_key(&key)
    }

    /// Takes one key whose deadline has come.
    pub(crate) fn take_due(&mut self, now: Instant) -> Option<K> {
        let (at, key) = *self.by_time.first()?;
        if at > now {
            return None;
        }
        self.set(key, None);
        Some(key)
    }

    /// The earliest deadline.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.by_time.first().map(|(at, _)| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::start_of_time;
    use std::time::Duration;

    #[test]
    fn a_moved_deadline_fires_once_and_at_its_new_time() {
        let start = start_of_time();
        let later = start + Duration::from_secs(1);
        let mut timers = Timers::new();
        timers.set('a', Some(start));
        timers.set('a', Some(later));
        assert_eq!(timers.next(), Some(later));
        assert_eq!(timers.take_due(start), None);
        assert_eq!(timers.take_due(later), Some('a'));
        assert_eq!(timers.take_due(later), None);
        assert_eq!(timers.next(), None);
    }
}
