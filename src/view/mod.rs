//! What people and monitors see of the shapes in [`crate::state::status`] and of a run's summary. Pure: reads no state, writes no file.

pub mod findings;
pub mod heat;
pub mod html;
pub mod metrics;
pub mod monitor;
pub mod screen;
pub mod table;
pub mod text;
