//! Finding how much a server holds.

use anyhow::Result;

/// What one probe found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The server held that many.
    Holds,
    /// It did not, and why.
    Breaks(String),
    /// The instrument cannot tell, and why: its own limit was met first.
    Unknown(String),
    /// No probe was made, because there is no time for more.
    NoTime,
}

/// Where a search looks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Range {
    /// The first probe.
    pub(crate) start: u32,
    /// Never probed beyond.
    pub(crate) limit: u32,
    /// The search ends when the answer is known to this; smaller costs more probes than one core's noise is worth.
    pub(crate) step: u32,
}

/// What a search found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// The most that held; zero if nothing did.
    pub(crate) held: u32,
    /// Why it was not more.
    pub(crate) because: String,
    /// True if the server was not what ended the search, so that it may hold more.
    pub(crate) at_least: bool,
}

/// Finds the most that holds: half as many again while it does, then halves the gap. A probe that breaks is asked twice, because
/// one disturbance of the machine looks the same as the limit of a server.
///
/// # Errors
/// Those of `probe`.
pub(crate) fn most(range: Range, mut probe: impl FnMut(u32) -> Result<Verdict>) -> Result<Found> {
    let mut found = Found { held: 0, because: String::new(), at_least: false };
    let mut breaks_at = None;
    let mut next = range.start.min(range.limit);
    loop {
        match twice(next, &mut probe)? {
            Verdict::Holds => found.held = next,
            Verdict::Breaks(why) => {
                found.because = format!("{next}: {why}");
                found.at_least = false;
                breaks_at = Some(next);
            }
            Verdict::Unknown(why) => {
                found.because = format!("{next}: {why}");
                found.at_least = true;
                breaks_at = Some(next);
            }
            Verdict::NoTime if found.because.is_empty() => {
                let because = format!("no time was left to try {next}");
                return Ok(Found { because, at_least: true, ..found });
            }
            // What is known of the limit holds, only not to the step.
            Verdict::NoTime => return Ok(found),
        }
        if found.held >= range.limit {
            let because = format!("nothing above {} was tried", range.limit);
            return Ok(Found { because, at_least: true, ..found });
        }
        next = match breaks_at {
            None => (found.held + (found.held / 2).max(1)).min(range.limit),
            Some(breaks_at) if breaks_at - found.held <= range.step.max(1) => return Ok(found),
            Some(breaks_at) => found.held + (breaks_at - found.held) / 2,
        };
    }
}

fn twice(size: u32, probe: &mut impl FnMut(u32) -> Result<Verdict>) -> Result<Verdict> {
    match probe(size)? {
        Verdict::Breaks(_) => probe(size),
        other => Ok(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RANGE: Range = Range { start: 100, limit: 5000, step: 20 };

    fn breaking_at(limit: u32) -> impl FnMut(u32) -> Result<Verdict> {
        move |size| {
            Ok(if size < limit { Verdict::Holds } else { Verdict::Breaks("loss".to_owned()) })
        }
    }

    #[test]
    fn the_limit_is_found_to_the_step() {
        for limit in [101, 350, 1234, 4800] {
            let found = most(RANGE, breaking_at(limit)).unwrap();
            assert!(found.held < limit && limit - found.held <= RANGE.step, "{limit}: {found:?}");
            assert!(!found.at_least);
        }
    }

    #[test]
    fn a_limit_below_the_first_probe_is_found_too() {
        let found = most(RANGE, breaking_at(42)).unwrap();
        assert!((22..42).contains(&found.held), "{found:?}");
    }

    #[test]
    fn one_disturbance_does_not_end_the_search() {
        let mut disturbed = false;
        let found = most(RANGE, |size| {
            let first = size == 337 && !std::mem::replace(&mut disturbed, true);
            if first {
                Ok(Verdict::Breaks("a cron job".to_owned()))
            } else {
                breaking_at(900)(size)
            }
        })
        .unwrap();
        assert!((880..900).contains(&found.held), "{found:?}");
    }

    #[test]
    fn the_instruments_own_limit_gives_at_least() {
        let found = most(RANGE, |size| {
            Ok(if size <= 800 { Verdict::Holds } else { Verdict::Unknown("generator".to_owned()) })
        })
        .unwrap();
        assert!((780..=800).contains(&found.held) && found.at_least, "{found:?}");
    }

    #[test]
    fn without_time_the_search_ends_with_what_it_has() {
        let mut probes = 0;
        let found = most(RANGE, |_| {
            probes += 1;
            Ok(if probes <= 2 { Verdict::Holds } else { Verdict::NoTime })
        })
        .unwrap();
        assert_eq!((found.held, found.at_least, probes), (150, true, 3));
        assert!(found.because.contains("225"), "{found:?}");
    }

    #[test]
    fn a_search_ends_at_its_limit_and_says_so() {
        let found = most(RANGE, |_| Ok(Verdict::Holds)).unwrap();
        assert_eq!((found.held, found.at_least), (5000, true));
    }
}
