//! What people and monitors see: pure functions of the shapes in [`crate::state::status`] and of a run's summary.

pub(crate) mod certificate;
pub(crate) mod cluster;
pub(crate) mod diff;
pub(crate) mod findings;
pub mod heat;
pub(crate) mod html;
pub(crate) mod metrics;
pub(crate) mod monitor;
pub(crate) mod overview;
pub mod screen;
pub(crate) mod table;
pub(crate) mod text;
pub(crate) mod words;
