//! Parquet files, as if a stranger had made them.
//!
//! A Parquet file is a program of sorts: a few bytes may say many rows, large dictionaries and pages that unpack to
//! gigabytes. So the counts of its footer are compared with each other and with its size ([`footer`]), and its pages are
//! measured before they are unpacked ([`pages`], [`codecs`]); what is inside a page the crate `parquet` reads.

mod batches;
mod codecs;
mod compact;
mod footer;
mod pages;

pub(crate) use compact::broken as damaged;
pub(crate) use footer::{Table, broken, unpanicked};
