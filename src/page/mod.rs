//! A page's body: its tokens, their plaintext, and the records in it. Pure: nothing here touches the disk or the network.

pub mod decode;
pub mod decrypt;
pub mod parse;
pub(crate) mod recognise;
