//! temp
use std::borrow::Cow; use jiff::{Timestamp,tz::TimeZone}; use crate::hour::Hour;
#[derive(Debug)] pub struct Value<'a>(pub &'a str);
/// x
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)] pub struct ContentHash(pub [u8;16]);
impl std::fmt::Display for ContentHash { fn fmt(&self,f:&mut std::fmt::Formatter<'_>)->std::fmt::Result{ for b in self.0 {write!(f,"{b:02x}")?;} Ok(()) } }
#[derive(Debug)] pub struct Record<'a>{pub fields: Vec<(Cow<'a,str>,Value<'a>)>, pub at: Timestamp, pub hour: Hour}
#[derive(Debug)] pub struct Reason; impl Reason { pub fn kind(&self)->&'static str{"x"} } impl std::fmt::Display for Reason { fn fmt(&self,f:&mut std::fmt::Formatter<'_>)->std::fmt::Result{f.write_str("x")} }
pub fn read<'a>(_:&'a [u8],_:&TimeZone)->Result<Record<'a>,Reason>{Err(Reason)}
pub fn dated<'a>(_: Vec<(Cow<'a,str>,Value<'a>)>,_:&TimeZone)->Result<Record<'a>,Reason>{Err(Reason)}
pub fn content_hash(_:&[(Cow<'_,str>,Value<'_>)])->ContentHash{ContentHash([0;16])}
