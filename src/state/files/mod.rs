//! Files of the state directory: how they become durable, who may reach them, and the steps at which a crash can leave them.

pub(crate) mod access;
pub mod checked;
pub(crate) mod crash_point;
pub(crate) mod damage;
pub(crate) mod direct_io;
pub(crate) mod durable;
pub(crate) mod free_space;
pub(crate) mod hash_array;
pub(crate) mod lock;
pub(crate) mod reserve;
pub(crate) mod sorted_runs;
pub mod step;
pub(crate) mod watch_list;
