//! temp
use crate::record::*; use std::borrow::Cow;
#[derive(Debug)] pub struct Compactor; impl Compactor { pub fn fingerprint(&self)->String{String::new()} pub fn write_row(&self,_:&[(Cow<'_,str>,Value<'_>)],_:&mut Vec<u8>){} pub fn restore<'a>(&self,_:&'a str)->Result<Vec<(Cow<'a,str>,Value<'a>)>,Reason>{Err(Reason)} }
