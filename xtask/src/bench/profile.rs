//! Where the server's time goes: samples of its running functions while it carries W1.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use super::figures::number;
use super::generator::Load;
use super::network::sent_bytes;
use super::process::Process;
use super::runner::Bench;
use super::server::Subject;
use super::workload::Workload;

/// The workload that is looked into: W1 with 100 viewers.
const VIEWERS: u32 = 100;

/// Bytes a second that leave the server under that workload, headers of the network not counted: 30 frames of 8 packets.
const RATE_OUT: f64 = 100.0 * 30.0 * 8.0 * 1160.0;

/// The share of that rate from which everybody is taken to be there: feedback and sound are not in it.
const STEADY: f64 = 0.9;

/// Samples a second of the server's running time. A prime, so that it does not beat with the frames; the software clock
/// of virtual machines gives little more than a thousand.
const SAMPLES: u32 = 997;

/// Seconds of sampling: at a tenth of a core about a thousand samples, so that a function of 1 % has ten.
const SECONDS: f64 = 10.0;

/// Seconds the generator measures for: the sampling, and what it may begin too late.
const LOAD_SECONDS: f64 = SECONDS + 5.0;

/// Functions told by name. The others are summed up.
const LINES: usize = 40;

/// Profiles the server; prints the profile and writes it beside the summary or, where asked to, the results.
///
/// # Errors
/// If `perf` does not work here, or the load does not come about.
pub(crate) fn run(root: &Path, bench: &mut Bench) -> Result<bool> {
    let directory = bench.programs.directory.clone();
    let data = directory.join("perf.data");
    let server = bench.programs.start(Subject::Roomful)?;
    let load = Load::of(Workload::Stage { viewers: VIEWERS });
    println!("profiling {} under {}, about 30 s", server.subject, load.workload);
    let mut sampler = Sampler::new(server.process.id(), &data, directory.join("perf.log"));
    let (measured, _) =
        bench
            .generator
            .run(&bench.network, &server, &load, LOAD_SECONDS, &mut || sampler.look())?;
    sampler.finish()?;
    if let Some(fault) = measured.fault(false) {
        println!("the run would not count, so its profile may mislead: {fault}");
    }
    let text = markdown(&read(&data)?, measured.cpu_us_per_packet);
    println!("\n{text}");
    let folder = if bench.options.write { root.join("bench/results") } else { directory };
    std::fs::create_dir_all(&folder)?;
    let path = folder.join("profile.md");
    std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    println!("profile: {}", path.display());
    Ok(true)
}

/// Starts `perf` once the server sends all it should.
struct Sampler<'a> {
    process: u32,
    data: &'a Path,
    log: std::path::PathBuf,
    last: Option<(Instant, u64)>,
    perf: Option<Result<Process>>,
}

impl<'a> Sampler<'a> {
    fn new(process: u32, data: &'a Path, log: std::path::PathBuf) -> Self {
        Self { process, data, log, last: None, perf: None }
    }

    /// To be called again and again: compares what was sent a second ago with what was sent by now.
    fn look(&mut self) {
        if self.perf.is_some() {
            return;
        }
        let (now, Some(sent)) = (Instant::now(), sent_bytes()) else { return };
        let Some((then, before)) = self.last else {
            self.last = Some((now, sent));
            return;
        };
        let elapsed = now - then;
        if elapsed < Duration::from_secs(1) {
            return;
        }
        self.last = Some((now, sent));
        if sent.saturating_sub(before) as f64 / elapsed.as_secs_f64() >= RATE_OUT * STEADY {
            self.perf = Some(self.start());
        }
    }

    fn start(&self) -> Result<Process> {
        let mut command = Command::new("perf");
        command
            .args(["record", "--quiet", "--event", "cpu-clock", "--freq", &SAMPLES.to_string()])
            .args(["--pid", &self.process.to_string(), "--output"])
            .arg(self.data)
            .args(["--", "sleep", &SECONDS.to_string()]);
        Process::start("perf", command, self.log.clone())
    }

    fn finish(self) -> Result<()> {
        let Some(perf) = self.perf else {
            bail!("the server never sent {STEADY} of what {VIEWERS} viewers should get");
        };
        let mut perf = perf?;
        let status = perf.wait(Duration::from_secs_f64(SECONDS + 10.0), || {})?;
        ensure!(
            status.success(),
            "perf failed: {}; it needs root, or sysctl -w kernel.perf_event_paranoid=1",
            perf.last_words()
        );
        Ok(())
    }
}

/// One function's share of the samples.
#[derive(Clone, Debug, PartialEq)]
struct Line {
    percent: f64,
    is_kernel: bool,
    function: String,
}

fn read(data: &Path) -> Result<Vec<Line>> {
    let output = Command::new("perf")
        .args(["report", "--stdio", "--no-children", "--sort", "sym", "--input"])
        .arg(data)
        .output()
        .context("cannot run perf report")?;
    let lines: Vec<Line> =
        String::from_utf8_lossy(&output.stdout).lines().filter_map(line).collect();
    ensure!(
        !lines.is_empty(),
        "perf took no samples: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(lines)
}

/// `    12.34%  [k] name of the function`; anything else is decoration.
fn line(text: &str) -> Option<Line> {
    let (percent, rest) = text.trim().split_once('%')?;
    let (mark, function) = rest.trim().split_once(' ')?;
    let is_kernel = match mark {
        "[k]" => true,
        "[.]" => false,
        _ => return None,
    };
    let function = function.trim().to_owned();
    Some(Line { percent: percent.trim().parse().ok()?, is_kernel, function })
}

fn markdown(lines: &[Line], cost_us: Option<f64>) -> String {
    let side = |is_kernel: bool| -> f64 {
        let own = lines.iter().filter(|line| line.is_kernel == is_kernel);
        own.map(|line| line.percent).sum()
    };
    // A packet's nanoseconds in a function: its share of the cost of a packet.
    let nanoseconds =
        |percent: f64| cost_us.map_or("–".to_owned(), |cost| number(cost * 10.0 * percent));
    let mut text = format!(
        "# Where the time goes\n\nWritten by `cargo xtask bench --profile`: W1 with {VIEWERS} viewers, {} µs of processor time \
         per forwarded packet, sampled for {SECONDS} s.\n\n| share | ns a packet | where | function |\n|---|---|---|---|\n",
        cost_us.map_or("unknown".to_owned(), number)
    );
    let mut row = |percent: f64, place: &str, function: &str| {
        let cost = nanoseconds(percent);
        // Writing to a string cannot fail.
        let _ = writeln!(text, "| {percent:.1} % | {cost} | {place} | {function} |");
    };
    row(side(false), "user", "**all**");
    row(side(true), "kernel", "**all**");
    let place = |line: &Line| if line.is_kernel { "kernel" } else { "user" };
    for line in lines.iter().take(LINES) {
        row(line.percent, place(line), &format!("`{}`", line.function));
    }
    // An empty sum is minus zero.
    let rest = lines.iter().skip(LINES).fold(0.0, |sum, line| sum + line.percent);
    row(rest, "both", &format!("{} others", lines.len().saturating_sub(LINES)));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_read_and_decoration_is_not() {
        let report =
            "# Samples: 4K\n#\n    17.01%  [.] aes_gcm_encrypt\n     3.47%  [k] copy from iter\n\n";
        let lines: Vec<Line> = report.lines().filter_map(line).collect();
        assert_eq!(lines.len(), 2);
        assert_eq!((lines[0].percent, lines[0].is_kernel), (17.01, false));
        assert_eq!((lines[1].function.as_str(), lines[1].is_kernel), ("copy from iter", true));
    }

    #[test]
    fn shares_become_nanoseconds_of_a_packet() {
        let lines = [
            Line { percent: 60.0, is_kernel: true, function: "sendmsg".to_owned() },
            Line { percent: 40.0, is_kernel: false, function: "seal".to_owned() },
        ];
        let text = markdown(&lines, Some(2.0));
        assert!(text.contains("| 60.0 % | 1200 | kernel | `sendmsg` |"), "{text}");
        assert!(text.contains("| 40.0 % | 800 | user | **all** |"), "{text}");
        assert!(text.contains("| 0.0 % | 0 | both | 0 others |"), "{text}");
    }
}
