//! A part whose bytes are in the spool, on its way into the store.

use std::path::PathBuf;

use crate::error::Result;
use crate::hour::Hour;
use crate::hour::part::PartRow;
use crate::job::Setup;
use crate::state::files::step::{Step, durable_step};
use crate::store::once::{self, CreateOnly, Outcome, Sealed};
use crate::store::{ObjectStore, PartMeta};

/// Who spooled the parts that are to be uploaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SpooledBy {
    /// A moment ago: their bytes are what was written.
    ThisRun,
    /// Their bytes are read and checked.
    AnEarlierRun,
}

/// A part that is to be uploaded.
#[derive(Debug, Clone)]
pub(crate) struct Upload {
    pub(crate) hour: Hour,
    pub(crate) row: PartRow,
    pub(crate) body: PathBuf,
}

impl Upload {
    pub(super) fn meta(&self) -> PartMeta {
        let PartRow { identity, dict, range, .. } = &self.row;
        PartMeta { identity: identity.clone(), hour: self.hour.to_string(), dict: dict.clone(), range: *range }
    }

    pub(super) fn put(&self, setup: &Setup<'_>, create_only: CreateOnly) -> Result<Outcome> {
        let meta = self.meta();
        let sealed = Sealed { key: &self.row.key, body: &self.body, meta: &meta };
        durable_step(Step::PartPut, || once::upload(&*setup.store, &sealed, create_only, setup.stop))
    }

    pub(super) fn look(&self, store: &dyn ObjectStore) -> Result<Option<Outcome>> {
        let meta = self.meta();
        once::look(store, &Sealed { key: &self.row.key, body: &self.body, meta: &meta })
    }
}
