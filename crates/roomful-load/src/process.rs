//! What processes cost, read from `/proc`.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::Context as _;

/// A process by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ProcessId(pub(crate) u32);

impl ProcessId {
    pub(crate) fn own() -> Self {
        Self(std::process::id())
    }
}

/// What a process had used at a moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usage {
    pub(crate) at: Instant,
    /// Processor time of all its threads.
    pub(crate) cpu: Duration,
    /// Resident memory in kB.
    pub(crate) resident_kb: u64,
}

impl Usage {
    /// # Errors
    /// If there is no such process, or it is another user's.
    pub(crate) fn of(process: ProcessId) -> anyhow::Result<Self> {
        let cpu = cpu_time(process)?;
        Ok(Self { at: Instant::now(), cpu, resident_kb: resident_kb(process)? })
    }

    /// Processor time between two moments.
    pub(crate) fn cpu_since(&self, earlier: &Self) -> Duration {
        self.cpu.saturating_sub(earlier.cpu)
    }

    /// The same as a share of one core.
    pub(crate) fn share_since(&self, earlier: &Self) -> f64 {
        let wall = self.at.saturating_duration_since(earlier.at).as_secs_f64();
        if wall > 0.0 { self.cpu_since(earlier).as_secs_f64() / wall } else { 0.0 }
    }
}

/// Sums what the scheduler notes of every thread, in nanoseconds: `utime + stime` is the same sum, rounded
/// to hundredths of a second. What threads used that ended meanwhile is in the latter alone, so the larger
/// of both counts.
fn cpu_time(process: ProcessId) -> anyhow::Result<Duration> {
    let coarse = coarse_cpu_time(process)?;
    let threads = fs::read_dir(format!("/proc/{}/task", process.0));
    let exact = threads.map_or(Duration::ZERO, |threads| {
        let nanos = threads.flatten().filter_map(|thread| {
            let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
            text.split_ascii_whitespace().next()?.parse::<u64>().ok()
        });
        Duration::from_nanos(nanos.sum())
    });
    Ok(if exact + TICK * 2 < coarse { coarse } else { exact })
}

/// One unit of `utime` and `stime`: `USER_HZ` is 100 on every architecture Linux has today.
const TICK: Duration = Duration::from_millis(10);

fn coarse_cpu_time(process: ProcessId) -> anyhow::Result<Duration> {
    let path = format!("/proc/{}/stat", process.0);
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    // The name, in parentheses, may hold anything; fields are counted from after it (proc(5)).
    let fields = text.rsplit_once(')').map_or("", |(_, fields)| fields);
    let ticks = fields.split_ascii_whitespace().skip(11).take(2);
    let ticks: u32 = ticks.filter_map(|field| field.parse::<u32>().ok()).sum();
    Ok(TICK * ticks)
}

fn resident_kb(process: ProcessId) -> anyhow::Result<u64> {
    let path = format!("/proc/{}/status", process.0);
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_ascii_whitespace().next());
    number.and_then(|number| number.parse().ok()).with_context(|| format!("{path} has no VmRSS"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_shows_as_processor_time() {
        let usage = || Usage::of(ProcessId::own()).unwrap();
        let before = usage();
        let mut x: u64 = 1;
        // However busy the machine is with others, work done here is counted at last.
        let worked = loop {
            for _ in 0..1_000_000 {
                x = std::hint::black_box(x.wrapping_mul(31));
            }
            let worked = usage();
            if worked.cpu_since(&before) > Duration::from_millis(50) {
                break worked;
            }
            assert!(before.at.elapsed() < Duration::from_secs(60), "work is not counted");
        };
        // Threads of other tests run beside this one, but never more than the machine has cores.
        assert!(worked.share_since(&before) < 1.0 + core_count());
        assert!(worked.resident_kb > 100);
    }

    fn core_count() -> f64 {
        std::thread::available_parallelism().map_or(1.0, |count| count.get() as f64)
    }

    #[test]
    fn a_process_that_is_not_there_is_an_error() {
        assert!(Usage::of(ProcessId(u32::MAX)).is_err());
    }
}
