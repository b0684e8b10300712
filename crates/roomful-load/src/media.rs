//! What virtual participants send: packets of real shape whose content says who sent it, where it
//! belongs and when it left.

pub(crate) mod mark;
pub(crate) mod payload;
pub(crate) mod source;
