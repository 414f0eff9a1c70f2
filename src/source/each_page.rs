//! A sink that hands the pages of a body of lines over one by one, for those who keep none. In memory; a crash leaves nothing.

use std::cell::RefCell;

use super::PageSink;
use crate::error::Result;

/// Takes a page.
pub(crate) type TakePage<'e> = RefCell<dyn FnMut(Vec<u8>) -> Result<()> + 'e>;

/// The page at hand; those before it were handed over.
pub(crate) struct EachPage<'e> {
    page: Vec<u8>,
    each: &'e TakePage<'e>,
}

impl<'e> EachPage<'e> {
    pub(crate) const fn new(each: &'e TakePage<'e>) -> Self {
        Self { page: Vec::new(), each }
    }

    /// The last page: the only one, unless the body is lines.
    pub(crate) fn into_last(self) -> Vec<u8> {
        self.page
    }
}

impl PageSink for EachPage<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.page.write(bytes)
    }

    fn cut(&mut self) -> Result<bool> {
        (self.each.borrow_mut())(std::mem::take(&mut self.page)).map(|()| true)
    }
}
