//! temp
#![allow(missing_docs)]
#[derive(Debug,PartialEq,Eq,thiserror::Error)] pub enum DecryptError{#[error("m")]Malformed,#[error("w")]WrongKey}
pub struct KeyRing(pub Vec<fernet::Fernet>); impl std::fmt::Debug for KeyRing { fn fmt(&self,_:&mut std::fmt::Formatter<'_>)->std::fmt::Result{Ok(())} } impl KeyRing{pub fn decrypt(&self,t:&str)->Result<Vec<u8>,DecryptError>{ for f in &self.0 { if let Ok(p)=f.decrypt(t) {return Ok(p)} } Err(if t.starts_with("gAAAA") {DecryptError::WrongKey} else {DecryptError::Malformed})} pub fn fingerprint(&self)->String{format!("{}",self.0.len())}}
