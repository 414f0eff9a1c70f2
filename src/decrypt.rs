//! temp
#[derive(Debug,PartialEq,Eq,thiserror::Error)] pub enum DecryptError{#[error("m")]Malformed,#[error("w")]WrongKey}
#[derive(Debug)] pub struct KeyRing; impl KeyRing{pub fn decrypt(&self,_:&str)->Result<Vec<u8>,DecryptError>{Err(DecryptError::Malformed)} pub fn fingerprint(&self)->String{String::new()}}
