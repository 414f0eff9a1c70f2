//! From the log into the store: sealed, uploaded, and pruned once there is a receipt.

pub mod archive;
pub(super) mod dictionaries;
pub(super) mod manifest;
pub(super) mod refused;
pub(super) mod seal;
pub(super) mod upload;
