//! Offers, and what they are answered.

#![no_main]

use roomful_sfu::fuzzing::{offer_answer, offer_seeds};

libfuzzer_sys::fuzz_target!(
    init: roomful_fuzz::begin_with(&offer_seeds()),
    |bytes: &[u8]| offer_answer(bytes)
);
