//! What every fuzz target begins with.

use std::path::Path;

/// Names the directory that a target's seeds are written to: its corpus.
const DIRECTORY: &str = "ROOMFUL_FUZZ_SEEDS";

/// Writes `seeds` into the corpus, if the environment names it. They are made by the code that writes such bytes, so
/// they never fall behind a format; libFuzzer reads the corpus right after this.
///
/// # Panics
/// If a seed cannot be written: without them a run finds out little.
pub fn begin_with(seeds: &[Vec<u8>]) {
    let Some(directory) = std::env::var_os(DIRECTORY) else { return };
    for (number, seed) in seeds.iter().enumerate() {
        let path = Path::new(&directory).join(format!("seed-{number:03}"));
        if let Err(error) = std::fs::write(&path, seed) {
            panic!("cannot write the seed {}: {error}", path.display());
        }
    }
}
