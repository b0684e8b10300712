//! The Roomful server.
fn main() {}
