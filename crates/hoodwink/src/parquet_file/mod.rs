//! Parquet files, treated as untrusted.
//!
//! A few bytes of a Parquet file can declare many rows, large dictionaries, and pages that unpack to gigabytes. So the
//! counts in its footer are compared with each other and with the file size ([`footer`]), and its pages are measured
//! before they are unpacked ([`pages`], [`codecs`]). The crate `parquet` decodes the contents of a page.

mod batches;
mod codecs;
mod compact;
mod footer;
mod pages;

pub(crate) use compact::broken as damaged;
pub(crate) use footer::{Table, broken, unpanicked};
