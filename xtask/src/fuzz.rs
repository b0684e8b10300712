//! Fuzzing: bytes nobody thought of, into everything that reads bytes from outside.
//!
//! The targets are in `fuzz/`, laid out as cargo-fuzz wants them; it is not needed. Stable Rust can instrument code for
//! libFuzzer; only the sanitizers need a nightly compiler, and what they look for, memory used wrongly, the code under
//! test cannot do: `unsafe` stands in the system calls alone.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

/// How long each target runs unless something else is said.
const DEFAULT: Duration = Duration::from_secs(60);

/// The longest input: a little more than a datagram of the internet. Larger finds nothing new, and slower.
const MAX_LEN: usize = 2048;

/// What one input may take, in seconds; more is a find. Real inputs take microseconds.
const SLOWEST: u64 = 5;

/// Lines of a target's own words that are kept to be shown with a fault: a message and its stack.
const LAST_WORDS: usize = 60;

/// What makes the compiler count edges and comparisons for libFuzzer.
const INSTRUMENTATION: [&str; 6] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Ccodegen-units=1",
];

/// Separates flags in `CARGO_ENCODED_RUSTFLAGS`.
const FLAG_SEPARATOR: &str = "\x1f";

/// `[target …] [--seconds N]`: runs these targets, or all, one after the other; false if one of them found a fault.
pub(crate) fn run(root: &Path, arguments: &[&str]) -> Result<bool> {
    let directory = root.join("fuzz");
    let wanted = parse(arguments)?;
    let targets = choose(&targets(&directory)?, &wanted.targets)?;
    let programs = build(&directory)?;
    let (mut runs, mut faults) = (0, 0);
    for target in &targets {
        let end = fuzz(&directory, &programs, target, wanted.time)?;
        runs += end.runs;
        faults += usize::from(!end.is_well);
    }
    println!("{runs} runs of {} targets, {faults} with a fault", targets.len());
    Ok(faults == 0)
}

#[derive(Debug, PartialEq)]
struct Wanted {
    targets: Vec<String>,
    time: Duration,
}

fn parse(arguments: &[&str]) -> Result<Wanted> {
    let mut wanted = Wanted { targets: Vec::new(), time: DEFAULT };
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        if *argument == "--seconds" {
            let seconds = arguments.next().and_then(|text| text.parse().ok()).filter(|n| *n > 0);
            wanted.time = Duration::from_secs(seconds.context("--seconds takes a number")?);
        } else if argument.starts_with('-') {
            bail!("there is no option {argument}; there is --seconds N");
        } else {
            wanted.targets.push((*argument).to_owned());
        }
    }
    Ok(wanted)
}

/// Every target there is.
fn targets(directory: &Path) -> Result<Vec<String>> {
    let directory = directory.join("fuzz_targets");
    let entries = std::fs::read_dir(&directory)
        .with_context(|| format!("cannot read {}", directory.display()))?;
    let mut targets = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == "rs") {
            targets.extend(path.file_stem().map(|stem| stem.to_string_lossy().into_owned()));
        }
    }
    targets.sort();
    Ok(targets)
}

fn choose(all: &[String], wanted: &[String]) -> Result<Vec<String>> {
    let unknown: Vec<&str> =
        wanted.iter().filter(|name| !all.contains(name)).map(String::as_str).collect();
    ensure!(
        unknown.is_empty(),
        "no such target: {}; there are {}",
        unknown.join(" "),
        all.join(" ")
    );
    Ok(if wanted.is_empty() { all.to_vec() } else { wanted.to_vec() })
}

/// Builds all targets and returns where they are.
fn build(directory: &Path) -> Result<PathBuf> {
    // Naming the target keeps the flags from build scripts, which run without libFuzzer.
    let host = host()?;
    println!("building the targets");
    let status = Command::new("cargo")
        .args(["build", "--release", "--bins", "--locked", "--quiet", "--target", &host])
        .env("CARGO_ENCODED_RUSTFLAGS", INSTRUMENTATION.join(FLAG_SEPARATOR))
        .env("CARGO_TARGET_DIR", directory.join("target"))
        .current_dir(directory)
        .status()
        .context("cannot run cargo")?;
    ensure!(status.success(), "the fuzz targets did not build");
    Ok(directory.join("target").join(host).join("release"))
}

/// The machine this runs on, as the compiler calls it.
fn host() -> Result<String> {
    let output = Command::new("rustc").arg("-vV").output().context("cannot run rustc")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc does not say what it compiles for")?.to_owned())
}

/// How the run of a target ended.
struct End {
    runs: u64,
    is_well: bool,
}

fn fuzz(directory: &Path, programs: &Path, target: &str, time: Duration) -> Result<End> {
    let corpus = directory.join("corpus").join(target);
    let artifacts = directory.join("artifacts").join(target);
    for needed in [&corpus, &artifacts] {
        std::fs::create_dir_all(needed)
            .with_context(|| format!("cannot create {}", needed.display()))?;
    }
    let started = Instant::now();
    let mut child = Command::new(programs.join(target))
        .arg(&corpus)
        .arg(format!("-max_total_time={}", time.as_secs()))
        .arg(format!("-max_len={MAX_LEN}"))
        .arg(format!("-timeout={SLOWEST}"))
        .arg(format!("-artifact_prefix={}/", artifacts.display()))
        .env("ROOMFUL_FUZZ_SEEDS", &corpus)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run {target}"))?;
    let mut progress = Progress::default();
    let mut last_words = VecDeque::new();
    for line in child.stderr.take().into_iter().flat_map(|errors| BufReader::new(errors).lines()) {
        let line = line?;
        if progress.read(&line) {
            show(target, started.elapsed(), progress, false);
        } else {
            last_words.truncate(LAST_WORDS - 1);
            last_words.push_front(line);
        }
    }
    let is_well = child.wait()?.success();
    show(target, started.elapsed(), progress, true);
    if !is_well {
        last_words.iter().rev().for_each(|line| println!("    {line}"));
        println!("{target} FAILED; the input is in {}", artifacts.display());
        println!("once more: {} <input>", programs.join(target).display());
    }
    Ok(End { runs: progress.runs, is_well })
}

/// What libFuzzer last said about itself.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Progress {
    runs: u64,
    /// Edges of the code that some input took.
    coverage: u64,
    /// Inputs worth keeping.
    corpus: u64,
}

impl Progress {
    /// Takes in a line such as `#4096 pulse  cov: 210 ft: 512 corp: 38/1210b lim: 60 exec/s: 2048`; false if it is
    /// something else.
    fn read(&mut self, line: &str) -> bool {
        let mut words = line.split_whitespace();
        let runs = words.next().and_then(|word| word.strip_prefix('#')?.parse().ok());
        let Some(runs) = runs else { return false };
        self.runs = runs;
        while let Some(word) = words.next() {
            match word {
                "cov:" => self.coverage = number(words.next()).unwrap_or(self.coverage),
                "corp:" => self.corpus = number(words.next()).unwrap_or(self.corpus),
                _ => {}
            }
        }
        true
    }
}

/// The digits a word begins with.
fn number(word: Option<&str>) -> Option<u64> {
    word?.split(|letter: char| !letter.is_ascii_digit()).next()?.parse().ok()
}

/// One line for each target: rewritten in place on a terminal, written once elsewhere.
fn show(target: &str, elapsed: Duration, progress: Progress, is_last: bool) {
    let Progress { runs, coverage, corpus } = progress;
    let seconds = elapsed.as_secs();
    let line = format!(
        "{target:<16} {seconds:>5} s {runs:>12} runs {coverage:>6} edges {corpus:>6} inputs kept"
    );
    let is_terminal = std::io::stdout().is_terminal();
    match (is_terminal, is_last) {
        (true, false) => print!("\r{line}"),
        (true, true) => println!("\r{line}"),
        (false, true) => println!("{line}"),
        (false, false) => {}
    }
    // A closed terminal must not end the run.
    let _ = std::io::stdout().flush();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_read_from_what_libfuzzer_prints() {
        let mut progress = Progress::default();
        let line = "#4096\tpulse  cov: 210 ft: 512 corp: 38/1210b lim: 60 exec/s: 2048 rss: 44Mb";
        assert!(progress.read(line));
        assert_eq!(progress, Progress { runs: 4096, coverage: 210, corpus: 38 });
        assert!(!progress.read("thread 'main' panicked at src/rtp.rs:1:2:"));
        assert!(!progress.read("#panic"));
        assert_eq!(progress.runs, 4096);
    }

    #[test]
    fn targets_and_time_are_told_apart() {
        let wanted = parse(&["rtp_parse", "--seconds", "5", "srtp_open"]).unwrap();
        assert_eq!(wanted.targets, ["rtp_parse", "srtp_open"]);
        assert_eq!(wanted.time, Duration::from_secs(5));
        assert_eq!(parse(&[]).unwrap().time, DEFAULT);
        for bad in [&["--seconds"][..], &["--seconds", "soon"], &["--seconds", "0"], &["--fast"]] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_target_that_does_not_exist_is_refused() {
        let all = ["a".to_owned(), "b".to_owned()];
        assert_eq!(choose(&all, &[]).unwrap(), all);
        assert_eq!(choose(&all, &["b".to_owned()]).unwrap(), ["b"]);
        assert!(choose(&all, &["c".to_owned()]).unwrap_err().to_string().contains("there are a b"));
    }

    #[test]
    fn every_target_is_named_in_the_manifest() {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz");
        let manifest = std::fs::read_to_string(directory.join("Cargo.toml")).unwrap();
        let targets = targets(&directory).unwrap();
        assert!(!targets.is_empty());
        for target in targets {
            assert!(manifest.contains(&format!("name = \"{target}\"")), "{target}");
        }
    }
}
