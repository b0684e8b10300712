//! Whole calls in virtual time: every test name is a claim about what people in a room can rely on.

mod meeting;
