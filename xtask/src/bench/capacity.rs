//! How much one core holds: searches for the size at which a server breaks.

use std::iter;
use std::time::Duration;

use anyhow::Result;

use super::figures::{Figure, Goal, number};
use super::generator::Load;
use super::measured::{GENERATOR_SHARE, Measured};
use super::options::Options;
use super::runner::{Bench, Record, Variant};
use super::search::{Found, Range, Verdict, most};
use super::server::Subject;
use super::statistics::Spread;
use super::workload::Workload;

/// One search.
pub(crate) struct Capacity {
    id: &'static str,
    what: &'static str,
    unit: &'static str,
    goal: f64,
    range: Range,
    load: fn(u32) -> Load,
    /// What is asked of a run beyond being without loss.
    holds: fn(u32, &Measured) -> Option<String>,
    /// What to find out past the limit, if anything.
    past: Option<Past>,
}

/// One run with a quarter more than were held: clearly past the limit, and not so far that nobody could even join.
pub(crate) struct Past {
    id: &'static str,
    what: &'static str,
    value: fn(&Measured) -> Option<f64>,
    unit: &'static str,
    goal: Goal,
    note: fn(&Measured) -> String,
}

/// P5.
pub(crate) const STAGE: Capacity = Capacity {
    id: "P5",
    what: "W1 viewers on one core without loss",
    unit: "viewers",
    goal: 1200.0,
    range: Range { start: 800, limit: 4000, step: 100 },
    load: |viewers| Load::of(Workload::Stage { viewers }).light(),
    holds: |_, _| None,
    past: None,
};

/// P6.
pub(crate) const HALL: Capacity = Capacity {
    id: "P6",
    what: "W2 listeners on one core, one speaker, without loss",
    unit: "listeners",
    goal: 3000.0,
    range: Range { start: 2000, limit: 8000, step: 250 },
    load: |listeners| Load::of(Workload::Hall { listeners }).light(),
    holds: |_, _| None,
    past: None,
};

/// P7.
pub(crate) const GRID: Capacity = Capacity {
    id: "P7",
    what: "W3 participants on one core without shedding",
    unit: "participants",
    goal: 60.0,
    range: Range { start: 40, limit: 120, step: 5 },
    load: |participants| Load::of(Workload::Grid { participants }).light(),
    holds: grid_holds,
    past: Some(PAST),
};

/// What P7 says of the time past it.
const PAST: Past = Past {
    id: "P7.sound",
    what: "sound that arrives in W3 with a quarter more participants",
    value: |run| Some(run.granted.audio? * 100.0),
    unit: "%",
    goal: Goal::AtLeast(99.0),
    note: |run| {
        let percent = run.granted.video.map_or("?".to_owned(), |share| number(share * 100.0));
        format!("of the pictures {percent} %")
    },
};

/// J3.
pub(crate) const JOINS: Capacity = Capacity {
    id: "J3",
    what: "full joins a second on one core with media p99 within 10 ms",
    unit: "joins/s",
    goal: 200.0,
    range: Range { start: 134, limit: 1000, step: 20 },
    load: |rate| Load::of(Workload::Joins { rate }),
    holds: joins_hold,
    past: None,
};

/// The share of the joins asked for that has to succeed: the last ones of a run may still be under way.
const JOINED: f64 = 0.95;
/// What the media of the room beside the joins may be late by, as the goal says.
const MEDIA_P99_MS: f64 = 10.0;

/// The part of the pictures wished for below which a server is taken to shed: somebody sees something smaller than
/// wished for, or nothing. What a window has less at its ends is within it.
const SHED: f64 = 0.97;
/// The same of sound, which is never to be shed.
const SILENCED: f64 = 0.99;

fn grid_holds(_: u32, run: &Measured) -> Option<String> {
    let below = |share: Option<f64>, least: f64| share.filter(|share| *share < least);
    if let Some(share) = below(run.granted.audio, SILENCED) {
        return Some(format!("{:.1} % of the sound arrived", share * 100.0));
    }
    let share = below(run.granted.video, SHED)?;
    Some(format!("{:.1} % of the pictures arrived in the size wished for", share * 100.0))
}

fn joins_hold(rate: u32, run: &Measured) -> Option<String> {
    let joined = run.joins_per_second.unwrap_or_default();
    if joined < f64::from(rate) * JOINED {
        return Some(format!("{joined:.0} joins/s succeeded"));
    }
    let p99 = run.latency_us.p99.unwrap_or(f64::INFINITY) / 1000.0;
    (p99 > MEDIA_P99_MS).then(|| format!("media p99 was {p99:.1} ms"))
}

/// How long a search takes: at two thirds of the goal, then up or down from there, twice where it breaks.
pub(crate) fn takes(options: &Options, capacity: &Capacity) -> Duration {
    const PROBES: u32 = 5;
    let size = capacity.goal as u32;
    let variant = Variant::Server(Subject::Roomful, (capacity.load)(size));
    variant.duration(options.seconds) * (PROBES + u32::from(capacity.past.is_some()))
}

/// Searches, and tells what was found beside the goal.
///
/// # Errors
/// If a record cannot be written.
pub(crate) fn measure(bench: &mut Bench, capacity: &Capacity) -> Result<Vec<Figure>> {
    let mut probes = 0;
    let found = most(capacity.range, |size| {
        let variant = variant(capacity, size);
        if !bench.has_time_for(variant.duration(bench.options.seconds)) {
            return Ok(Verdict::NoTime);
        }
        probes += 1;
        let record = bench.once(&variant, probes)?;
        Ok(judge(size, &record, capacity, bench.options.rough))
    })?;
    let held = f64::from(found.held);
    let measured = Spread::of((found.held > 0).then_some(held));
    let note = match (found.at_least, found.because.as_str()) {
        (true, because) => format!("at least; {because}"),
        (false, because) => format!("broke at {because}"),
    };
    let goal = Goal::AtLeast(capacity.goal);
    let most = Figure::new(capacity.id, capacity.what, capacity.unit, goal, measured).noting(note);
    let past = capacity.past.as_ref().map(|past| measure_past(bench, capacity, past, &found));
    iter::once(Ok(most)).chain(past).collect()
}

fn variant(capacity: &Capacity, size: u32) -> Variant {
    Variant::Server(Subject::Roomful, (capacity.load)(size))
}

/// Looks at what happens to a quarter more. Loss is no fault here: it is what is looked for.
fn measure_past(
    bench: &mut Bench,
    capacity: &Capacity,
    past: &Past,
    found: &Found,
) -> Result<Figure> {
    let figure = |measured| Figure::new(past.id, past.what, past.unit, past.goal, measured);
    if found.held == 0 {
        return Ok(figure(None).noting("nothing was held"));
    }
    let size = found.held + found.held / 4;
    let record = bench.once(&variant(capacity, size), 1)?;
    if record.measured.is_generators_fault(bench.options.rough) {
        return Ok(figure(None).noting(format!("with {size} the generator was at its limit")));
    }
    let value = Spread::of((past.value)(&record.measured));
    let Some(value) = value else {
        return Ok(figure(None).noting(record.void.unwrap_or_else(|| "no figure".to_owned())));
    };
    Ok(figure(Some(value)).noting(format!("{size}; {}", (past.note)(&record.measured))))
}

fn judge(size: u32, record: &Record, capacity: &Capacity, is_rough: bool) -> Verdict {
    if record.measured.is_generators_fault(is_rough) {
        return Verdict::Unknown(format!(
            "the generator was above {:.0} % of its core",
            GENERATOR_SHARE * 100.0
        ));
    }
    let broken = record.void.clone().or_else(|| (capacity.holds)(size, &record.measured));
    broken.map_or(Verdict::Holds, Verdict::Breaks)
}

#[cfg(test)]
mod tests {
    use super::super::measured::{Granted, Percentiles, Shares};
    use super::*;

    fn joined(rate: f64, p99_ms: f64) -> Measured {
        Measured {
            joins_per_second: Some(rate),
            latency_us: Percentiles { p50: None, p99: Some(p99_ms * 1000.0) },
            ..Measured::default()
        }
    }

    #[test]
    fn joins_hold_only_if_they_succeed_and_the_media_stays_in_time() {
        assert_eq!(joins_hold(100, &joined(99.0, 9.9)), None);
        assert!(joins_hold(100, &joined(80.0, 1.0)).unwrap().contains("succeeded"));
        assert!(joins_hold(100, &joined(99.0, 10.1)).unwrap().contains("media"));
        assert!(joins_hold(100, &Measured::default()).is_some(), "no figure is no success");
    }

    #[test]
    fn a_grid_holds_if_nothing_is_shed_and_sound_is_whole() {
        let run = |video, audio| Measured {
            granted: Granted { video: Some(video), audio: Some(audio) },
            ..Measured::default()
        };
        assert_eq!(grid_holds(60, &run(0.98, 1.3)), None);
        assert!(grid_holds(60, &run(0.9, 1.0)).unwrap().contains("pictures"));
        assert!(grid_holds(60, &run(1.0, 0.9)).unwrap().contains("sound"));
    }

    #[test]
    fn a_busy_generator_is_not_blamed_on_the_server() {
        let record = Record {
            experiment: String::new(),
            variant: String::new(),
            workload: String::new(),
            round: 1,
            void: Some("loss".to_owned()),
            measured: Measured {
                shares: Shares { generator: Some(0.9), ..Shares::default() },
                ..Measured::default()
            },
            raw: serde_json::Value::Null,
        };
        assert!(matches!(judge(100, &record, &STAGE, false), Verdict::Unknown(_)));
        let calm = Record { measured: Measured::default(), ..record };
        assert!(matches!(judge(100, &calm, &STAGE, false), Verdict::Breaks(_)));
    }
}
