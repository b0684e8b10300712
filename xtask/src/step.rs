//! One step of a run: a program, its output, and what it says about its tests.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::report::Tally;

/// A program to run in a directory of the repository.
pub(crate) struct Step {
    name: &'static str,
    command: Command,
    remedy: &'static str,
}

/// How a step ended.
pub(crate) struct Outcome {
    /// The step's name in the summary.
    pub(crate) name: &'static str,
    /// Its tests; a step without tests of its own counts as one.
    pub(crate) tally: Tally,
    /// How long it took.
    pub(crate) took: Duration,
    /// What the program printed, for those who count tests in it.
    pub(crate) output: String,
    /// Whether the program said that all is well.
    pub(crate) succeeded: bool,
}

impl Step {
    /// A step called `name` that runs `program` with `arguments` in `directory`.
    pub(crate) fn new(
        name: &'static str,
        directory: &Path,
        program: &str,
        arguments: &[&str],
    ) -> Self {
        let mut command = Command::new(program);
        command.current_dir(directory).args(arguments);
        Self { name, command, remedy: "" }
    }

    /// What to do when this fails, printed below its output.
    pub(crate) fn remedy(mut self, remedy: &'static str) -> Self {
        self.remedy = remedy;
        self
    }

    /// Runs the program to its end, showing its output as it comes.
    pub(crate) fn run(mut self) -> Outcome {
        println!("\n── {} ", self.name);
        let started = Instant::now();
        let ran = run_showing(&mut self.command);
        let took = started.elapsed();
        let (succeeded, output) = match ran {
            Ok(ran) => ran,
            Err(error) => {
                let program = self.command.get_program().to_string_lossy().into_owned();
                println!("{}: cannot run {program}: {error}", self.name);
                (false, String::new())
            }
        };
        if !succeeded && !self.remedy.is_empty() {
            println!("{}: {}", self.name, self.remedy);
        }
        println!("── {}: {} in {:.1} s", self.name, verdict(succeeded), took.as_secs_f64());
        Outcome { name: self.name, tally: Tally::of_one(succeeded), took, output, succeeded }
    }
}

impl Outcome {
    /// A step of our own: runs `work`, which counts as one test.
    pub(crate) fn of(name: &'static str, work: impl FnOnce() -> Result<()>) -> Self {
        let started = Instant::now();
        let result = work();
        let took = started.elapsed();
        let succeeded = result.is_ok();
        println!("── {name}: {} in {:.1} s", verdict(succeeded), took.as_secs_f64());
        if let Err(error) = result {
            println!("{name}: {error:#}");
        }
        Self { name, tally: Tally::of_one(succeeded), took, output: String::new(), succeeded }
    }

    /// Replaces the count of one by the tests that `read` finds; a step that failed although none of its tests did
    /// (it did not compile, it crashed) keeps one failure, so that nothing is hidden.
    pub(crate) fn counting(mut self, read: impl FnOnce(&str) -> Tally) -> Self {
        let mut tally = read(&self.output);
        if !self.succeeded && tally.failed == 0 {
            tally.failed = 1;
        }
        if self.succeeded && tally == Tally::default() {
            println!("{}: no test was found in its output", self.name);
            tally.failed = 1;
        }
        self.tally = tally;
        self
    }
}

fn verdict(succeeded: bool) -> &'static str {
    if succeeded { "ok" } else { "FAILED" }
}

/// Both streams are shown as they come and kept: a build that says nothing for minutes looks stuck.
fn run_showing(command: &mut Command) -> std::io::Result<(bool, String)> {
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let errors = child.stderr.take().map(|stream| thread::spawn(move || show(stream)));
    let output = child.stdout.take().map(show).unwrap_or_default();
    let errors = errors.and_then(|thread| thread.join().ok()).unwrap_or_default();
    let status = child.wait()?;
    Ok((status.success(), output + &errors))
}

fn show(stream: impl Read) -> String {
    let mut seen = String::new();
    let mut reader = BufReader::new(stream);
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
        let text = String::from_utf8_lossy(&line);
        print!("{text}");
        // A full pipe or a closed terminal must not end the tests.
        let _ = std::io::stdout().flush();
        seen.push_str(&text);
        line.clear();
    }
    seen
}
