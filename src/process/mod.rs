//! This process and the machine it runs on: its limits, its memory, its threads, and what it does about a panic.

pub mod limits;
pub mod memory;
pub mod panics;
pub mod parallel;
pub mod threads;
