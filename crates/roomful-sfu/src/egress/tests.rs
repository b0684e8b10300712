//! Many calls, checked from the receiving end.
