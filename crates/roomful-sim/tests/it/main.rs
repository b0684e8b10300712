//! Whole calls in virtual time: every test name is a claim about what people in a room can rely on.

mod calls;
mod churn;
mod data;
mod hostile;
mod layers;
mod meeting;
mod paths;
mod presence;
mod sections;
mod speakers;
