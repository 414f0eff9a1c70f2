//! What brings back what was set aside, forgotten or lost: imported, thawed, rebuilt, tried again.

pub(super) mod import;
pub(super) mod rebuild;
pub(super) mod requeue;
pub(super) mod thaw;
