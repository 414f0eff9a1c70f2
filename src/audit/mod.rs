//! The store against what is known of it: verified, restored, compared. Changes nothing.

pub mod compare;
pub mod restore;
pub mod verify;
