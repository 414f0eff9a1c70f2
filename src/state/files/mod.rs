//! Files of the state directory: how they become durable, who may reach them, and the steps at which a crash can leave them.

pub(crate) mod crash_point;
pub mod damage;
pub mod direct_io;
pub mod durable;
pub(crate) mod lock;
pub(crate) mod private;
pub(crate) mod reserve;
pub mod site;
pub mod step;
