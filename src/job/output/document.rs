//! Small objects beside the parts: dictionaries, settings, digests, and the markers of parts that were given up.
//!
//! Each is created, and only created. A crash leaves the object or nothing; the copy in the spool goes with the next clearing there, for
//! no intent names it.

use crate::error::Result;
use crate::job::context::Run;
use crate::state::files::durable;
use crate::store::PartMeta;
use crate::store::once::{self, Outcome, Sealed};

/// Creates the object `key` with these bytes, whose metadata names `hour` and `dict`. `Foreign`: something is there already; a store
/// that keeps no metadata says so of the same bytes, too.
pub(crate) fn create_document(run: &Run<'_>, key: &str, bytes: &[u8], (hour, dict): (&str, &str)) -> Result<Outcome> {
    let body = run.state.hours.spool_path_beside(key.rsplit('/').next().unwrap_or(key));
    durable::replace(&body, bytes)?;
    let meta = PartMeta::of_document(bytes, hour, dict);
    let sealed = Sealed { key, body: &body, meta: &meta };
    let put = once::upload(&*run.setup.store, &sealed, run.create_only(), run.setup.stop);
    durable::remove(&body)?;
    put
}
