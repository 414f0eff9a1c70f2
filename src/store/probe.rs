//! Asks with a small object whether a store accepts our objects and honours create-only.
//!
//! The object has a fixed name outside `data/`, made of its content, and a fixed content. So however often one asks, one object stays,
//! and a store that overwrites writes the same bytes again (one that keeps versions keeps one more). Nothing is deleted.

use std::io::Write;

use super::{ObjectStore, PartMeta, PutAnswer};
use crate::digest::Sha256;
use crate::error::{Error, ErrorKind, Result};
use crate::stop::Stop;
use crate::store::once::{self, CreateOnly, Outcome, Sealed, probe_create_only};

const BODY: &[u8] = b"{\"etl\":\"check: does this store honour If-None-Match?\"}\n";

/// The probe's key below `prefix`.
#[must_use]
pub fn key(prefix: &str) -> String {
    let digest = Sha256::of(BODY).to_string();
    format!("{prefix}check/{}", digest.get(..16).unwrap_or(&digest))
}

/// What a store does with an object that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    /// Whether it honours the condition.
    pub(crate) create_only: CreateOnly,
    /// Whether it refuses, by a policy, to replace an object without the condition too. `None`: it was not asked, or did not tell.
    pub(crate) refuses_to_replace: Option<bool>,
}

/// Puts the probe if it is not there, then puts it again: the answer is whether that is refused, with the condition and without.
/// [`CreateOnly::Unknown`] where something else has the probe's name.
pub(crate) fn ask(store: &dyn ObjectStore, prefix: &str) -> Result<Found> {
    if store.create_only_is_certain() {
        return Ok(Found { create_only: CreateOnly::Proven, refuses_to_replace: Some(true) });
    }
    let key = key(prefix);
    let meta = PartMeta::of_document(BODY, "check", "check");
    let body = body()?;
    let probe = Sealed { key: &key, body: body.path(), meta: &meta };
    let create_only = honours(store, &probe)?;
    let refuses_to_replace = match create_only {
        CreateOnly::Proven => refuses_to_replace(store, &probe),
        CreateOnly::Unknown | CreateOnly::NotHonoured => None,
    };
    Ok(Found { create_only, refuses_to_replace })
}

/// Puts the probe without the condition, where the same bytes lie already. These credentials may put it: they just did, or were told
/// that it is there. So what is refused for lack of rights is refused by a policy that asks for the condition.
fn refuses_to_replace(store: &dyn ObjectStore, probe: &Sealed<'_>) -> Option<bool> {
    match store.put_free(probe.key, probe.body, probe.meta) {
        Ok(PutAnswer::Created { .. } | PutAnswer::Unproven { .. }) => Some(false),
        Err(error) if error.kind() == ErrorKind::Credentials && error.concerns_one_object() => Some(true),
        Ok(_) | Err(_) => None,
    }
}

fn honours(store: &dyn ObjectStore, probe: &Sealed<'_>) -> Result<CreateOnly> {
    // Like the first part of a run, in a store of which nothing is known.
    match once::upload(store, probe, CreateOnly::Unknown, &Stop::new())? {
        Outcome::Foreign { .. } => Ok(CreateOnly::Unknown),
        // The answer is recorded nowhere: an earlier check may have put what is there.
        Outcome::Uploaded { .. } => probe_create_only(store, probe, true),
    }
}

fn body() -> Result<tempfile::NamedTempFile> {
    let dir = std::env::temp_dir();
    let failed = |e| Error::disk("write into", &dir, e);
    // A service may be unable to write into the folder for temporary files.
    let elsewhere = || ["/dev/shm", "/tmp"].iter().find_map(|dir| tempfile::NamedTempFile::new_in(dir).ok());
    let mut file = tempfile::NamedTempFile::new().or_else(|e| elsewhere().ok_or(e)).map_err(failed)?;
    file.write_all(BODY).and_then(|()| file.flush()).map_err(failed)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;
    use std::sync::Mutex;

    use super::*;
    use crate::store::ObjectInfo;

    /// A store in memory that overwrites, honours create-only, or refuses it.
    struct Fake {
        honours: bool,
        refuses: bool,
        /// Whether a policy asks for the condition.
        has_policy: bool,
        objects: Mutex<BTreeMap<String, ObjectInfo>>,
    }

    impl Fake {
        fn store(&self, key: &str, body: &Path, meta: &PartMeta, create_only: bool) -> Result<PutAnswer> {
            let mut objects = self.objects.lock().unwrap();
            if create_only && objects.contains_key(key) {
                return Ok(PutAnswer::Exists);
            }
            let size = std::fs::metadata(body).unwrap().len();
            objects.insert(key.to_owned(), ObjectInfo { size, etag: None, meta: Some(meta.clone()) });
            Ok(PutAnswer::Created { etag: Some("tag".to_owned()) })
        }
    }

    impl ObjectStore for Fake {
        fn place(&self) -> &'static str {
            "memory"
        }

        fn put_new(&self, key: &str, body: &Path, meta: &PartMeta) -> Result<PutAnswer> {
            if self.refuses {
                return Ok(PutAnswer::Refused(Error::new(ErrorKind::Config, "501")));
            }
            self.store(key, body, meta, self.honours)
        }

        fn put_free(&self, key: &str, body: &Path, meta: &PartMeta) -> Result<PutAnswer> {
            if self.has_policy {
                return Err(Error::new(ErrorKind::Credentials, "403").about_one_object());
            }
            self.store(key, body, meta, false)
        }

        fn head(&self, key: &str) -> Result<Option<ObjectInfo>> {
            Ok(self.objects.lock().unwrap().get(key).cloned())
        }

        fn get(&self, _: &str) -> Result<Vec<u8>> {
            Ok(Vec::new())
        }

        fn list(&self, _: &str, _: &mut dyn FnMut(&str, u64) -> Result<()>) -> Result<()> {
            Ok(())
        }

        fn create_only_is_certain(&self) -> bool {
            false
        }
    }

    #[test]
    fn store_is_found_out_and_one_object_outside_data_stays() {
        for (honours, refuses, has_policy, expected, refuses_to_replace) in [
            (true, false, false, CreateOnly::Proven, Some(false)),
            (true, false, true, CreateOnly::Proven, Some(true)),
            (false, false, false, CreateOnly::NotHonoured, None),
            (false, true, false, CreateOnly::NotHonoured, None),
        ] {
            let store = Fake { honours, refuses, has_policy, objects: Mutex::default() };
            for _ in 0..2 {
                assert_eq!(ask(&store, "logs/").unwrap(), Found { create_only: expected, refuses_to_replace });
            }
            let keys: Vec<String> = store.objects.into_inner().unwrap().into_keys().collect();
            assert_eq!(keys, [key("logs/")]);
            assert!(keys[0].starts_with("logs/check/"), "{keys:?}");
        }
    }

    #[test]
    fn something_else_under_the_probe_s_name_is_left_alone() {
        let foreign = ObjectInfo { size: 5, etag: None, meta: None };
        let objects = Mutex::new([(key(""), foreign.clone())].into());
        let store = Fake { honours: false, refuses: false, has_policy: false, objects };
        assert_eq!(ask(&store, "").unwrap().create_only, CreateOnly::Unknown);
        assert_eq!(store.objects.into_inner().unwrap().into_values().collect::<Vec<_>>(), [foreign]);
    }
}
