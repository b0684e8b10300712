//! Whom a check names.

#![no_main]

use roomful_sfu::fuzzing::{stun_parse, stun_seeds};

libfuzzer_sys::fuzz_target!(
    init: roomful_fuzz::begin_with(&stun_seeds()),
    |bytes: &[u8]| stun_parse(bytes)
);
