//! Roomful's development commands.
fn main() {}
