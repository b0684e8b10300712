//! Processes on cores of their own.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

/// How often a condition is looked at. Looking costs the core it happens on, which is nobody's here.
const LOOK: Duration = Duration::from_millis(50);

/// How long a process may take to end when asked to. Then it is killed.
const GRACE: Duration = Duration::from_secs(5);

/// One core of the machine, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Core(pub(crate) u32);

impl Core {
    /// Where the servers run.
    pub(crate) const SERVER: Self = Self(0);
    /// Where whatever produces and takes their load runs.
    pub(crate) const GENERATOR: Self = Self(1);

    /// The core as a bit of a mask, in the kernel's hexadecimal notation.
    pub(crate) fn mask(self) -> String {
        format!("{:x}", 1_u64 << self.0)
    }
}

/// A running process that ends with its owner. Its output goes to a file.
pub(crate) struct Process {
    child: Child,
    name: String,
    log: PathBuf,
}

impl Process {
    /// Starts `command` with its output going to `log`. Its standard input is a pipe that stays open until the process
    /// is ended.
    ///
    /// # Errors
    /// If the program cannot be started.
    pub(crate) fn start(name: &str, mut command: Command, log: PathBuf) -> Result<Self> {
        let file = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let copy = file.try_clone()?;
        let child = command
            .stdin(Stdio::piped())
            .stdout(file)
            .stderr(copy)
            .spawn()
            .with_context(|| format!("cannot start {name}: {command:?}"))?;
        Ok(Self { child, name: name.to_owned(), log })
    }

    /// The process's number. `taskset` and `nsenter` become the program they start, so it is the program's.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it printed so far.
    pub(crate) fn output(&self) -> String {
        let bytes = std::fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Waits until `ready` holds.
    ///
    /// # Errors
    /// If the process ends before, or `limit` passes; with the end of its output.
    pub(crate) fn wait_until(
        &mut self,
        limit: Duration,
        mut ready: impl FnMut(&Self) -> bool,
    ) -> Result<()> {
        let started = Instant::now();
        while !ready(self) {
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended with {status}: {}", self.name, self.last_words());
            }
            ensure!(
                started.elapsed() < limit,
                "{} was not ready after {} s: {}",
                self.name,
                limit.as_secs(),
                self.last_words()
            );
            thread::sleep(LOOK);
        }
        Ok(())
    }

    /// Waits for the process to end by itself, calling `meanwhile` again and again.
    ///
    /// # Errors
    /// If it takes longer than `limit`.
    pub(crate) fn wait(
        &mut self,
        limit: Duration,
        mut meanwhile: impl FnMut(),
    ) -> Result<ExitStatus> {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if started.elapsed() > limit {
                bail!(
                    "{} ran for more than {} s: {}",
                    self.name,
                    limit.as_secs(),
                    self.last_words()
                );
            }
            meanwhile();
            thread::sleep(LOOK);
        }
    }

    /// Closes the process's standard input, which asks programs that heed it to end.
    pub(crate) fn close_input(&mut self) {
        if let Some(mut input) = self.child.stdin.take() {
            // Whoever does not read it is not told either.
            let _ = input.flush();
        }
    }

    /// The end of what it printed, for people.
    pub(crate) fn last_words(&self) -> String {
        let output = self.output();
        let lines: Vec<&str> = output.lines().filter(|line| !line.trim().is_empty()).collect();
        lines[lines.len().saturating_sub(8)..].join("\n  ")
    }

    /// Asks the process to end, and kills it if it does not.
    pub(crate) fn end(&mut self) {
        self.close_input();
        let id = self.id().to_string();
        let asked = self.child.try_wait().is_ok_and(|ended| ended.is_none())
            && Command::new("kill").args(["-TERM", &id]).status().is_ok();
        let started = Instant::now();
        while asked && started.elapsed() < GRACE {
            if self.child.try_wait().is_ok_and(|ended| ended.is_some()) {
                return;
            }
            thread::sleep(LOOK);
        }
        // It may have ended by itself meanwhile.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

/// `program`, to run on one core only.
pub(crate) fn pinned(core: Core, program: &Path) -> Command {
    let mut command = Command::new("taskset");
    command.arg("--cpu-list").arg(core.0.to_string()).arg(program);
    command
}

/// Resident memory of a process in kB; none once it ended.
pub(crate) fn resident_kb(process: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().trim_end_matches("kB").trim().parse().ok()
}

/// Clock ticks of a process's user and system time so far; 100 a second on every Linux that Rust runs on.
pub(crate) fn ticks(process: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    process_ticks(&stat)
}

/// Clock ticks in which a core was not idle, so far.
pub(crate) fn busy_ticks(core: Core) -> Option<u64> {
    core_ticks(&std::fs::read_to_string("/proc/stat").ok()?, core)
}

/// The name in parentheses may hold anything, so fields are counted behind its end: user time is the 14th.
fn process_ticks(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut times = fields.split_whitespace().skip(11).map(str::parse::<u64>);
    Some(times.next()?.ok()? + times.next()?.ok()?)
}

/// user, nice, system, idle, iowait, irq, softirq, steal: all but the fourth and fifth.
fn core_ticks(stat: &str, core: Core) -> Option<u64> {
    let name = format!("cpu{}", core.0);
    let line = stat.lines().find(|line| line.split_whitespace().next() == Some(&name))?;
    let times: Option<Vec<u64>> =
        line.split_whitespace().skip(1).take(8).map(|time| time.parse().ok()).collect();
    let times = times?;
    Some(times.iter().sum::<u64>() - times.get(3)? - times.get(4)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_behind_a_name_with_spaces_and_parentheses() {
        let stat = "42 (a (strange) name) S 1 42 42 0 -1 4194304 1 0 0 0 150 50 0 0 20 0 1 0 9";
        assert_eq!(process_ticks(stat), Some(200));
    }

    #[test]
    fn a_busy_core_counts_all_but_idle_and_waiting() {
        let stat =
            "cpu  9 9 9 9 9 9 9 9 0 0\ncpu0 1 2 3 1000 2000 4 5 6 0 0\ncpu1 0 0 0 0 0 0 0 0 0 0";
        assert_eq!(core_ticks(stat, Core(0)), Some(21));
        assert_eq!(core_ticks(stat, Core(2)), None);
    }

    #[test]
    fn this_process_has_memory() {
        assert!(resident_kb(std::process::id()).unwrap() > 100);
        assert_eq!(resident_kb(u32::MAX), None);
    }

    #[test]
    fn a_mask_names_one_core() {
        assert_eq!((Core(0).mask(), Core(5).mask()), ("1".to_owned(), "20".to_owned()));
    }
}
