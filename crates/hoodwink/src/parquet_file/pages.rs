//! The pages of a column, measured before they are unpacked.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};

use parquet::basic::{Compression, Encoding, PageType};
use parquet::column::page::{Page, PageMetadata, PageReader};
use parquet::errors::Result;

use super::codecs::unpack;
use super::compact::{Compact, STRUCT, broken};

/// The maximum size of a page that is accepted whatever its compression ratio.
const FREE_BYTES: u64 = 1 << 25;

/// The maximum compression ratio of larger pages. Pictures are already compressed.
const MAX_RATIO: u64 = 8;

/// The pages of one column of a row group.
pub(super) struct Pages {
    file: BufReader<File>,
    /// The position of the next header, or of the content after the header just read.
    at: u64,
    end: u64,
    codec: Compression,
    shape: Shape,
    /// The maximum number of values in the remaining pages.
    left: u64,
    peeked: Option<Header>,
}

/// The known facts about a column's values.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    pub(super) values: u64,
    /// The minimum number of bytes per value.
    pub(super) width: u64,
    pub(super) is_nullable: bool,
    /// Whether each row holds a list of values.
    pub(super) is_repeated: bool,
    /// The maximum unpacked size of a page.
    pub(super) page_bytes: u64,
}

impl Pages {
    pub(super) fn new(
        file: File,
        range: std::ops::Range<u64>,
        codec: Compression,
        shape: Shape,
    ) -> Self {
        Self {
            file: BufReader::new(file),
            at: range.start,
            end: range.end,
            codec,
            shape,
            left: shape.values,
            peeked: None,
        }
    }

    /// Returns the next page's header. `at` is then the position of its content.
    fn header(&mut self) -> Result<Option<Header>> {
        if let Some(header) = self.peeked.take() {
            return Ok(Some(header));
        }
        while self.at < self.end {
            self.file.seek(SeekFrom::Start(self.at))?;
            let mut compact = Compact::new((&mut self.file).take(self.end - self.at));
            let header = Header::read(&mut compact)?;
            self.at += compact.read();
            if header.packed > self.end - self.at {
                return Err(broken("a page is longer than its column"));
            }
            if header.kind != PageType::INDEX_PAGE {
                return Ok(Some(header));
            }
            self.at += header.packed;
        }
        Ok(None)
    }

    fn page(&mut self, header: &Header) -> Result<Page> {
        let mut packed = vec![0; header.packed as usize];
        self.file.seek(SeekFrom::Start(self.at))?;
        self.file.read_exact(&mut packed)?;
        self.pass(header)?;
        if header.unpacked > FREE_BYTES && header.unpacked / MAX_RATIO > header.packed {
            return Err(broken(format!(
                "a page of {} bytes unpacks to {}, more than {MAX_RATIO} times its size",
                header.packed, header.unpacked
            )));
        }
        if header.unpacked > self.shape.page_bytes {
            return Err(broken(format!(
                "a page unpacks to {} bytes, more than {}",
                header.unpacked, self.shape.page_bytes
            )));
        }
        let levels = u64::from(header.definitions) + u64::from(header.repetitions);
        if levels > header.packed.min(header.unpacked) {
            return Err(broken("a page's levels are longer than the page"));
        }
        let buf = match (header.is_packed, levels as usize) {
            (false, _) if header.packed != header.unpacked => {
                return Err(broken("a page declares two different sizes"));
            }
            (false, _) => packed,
            // A page without values contains only the levels.
            (true, levels) if header.unpacked == levels as u64 => packed[..levels].to_vec(),
            (true, 0) => unpack(self.codec, &packed, header.unpacked as usize)?,
            (true, levels) => {
                let length = header.unpacked as usize - levels;
                [
                    &packed[..levels],
                    &unpack(self.codec, &packed[levels..], length)?,
                ]
                .concat()
            }
        };
        self.plausible(header, &buf[levels as usize..])?;
        let (num_values, encoding) = (header.values, header.encoding);
        Ok(match header.kind {
            PageType::DICTIONARY_PAGE => Page::DictionaryPage {
                buf: buf.into(),
                num_values,
                encoding,
                is_sorted: false,
            },
            PageType::DATA_PAGE_V2 => Page::DataPageV2 {
                buf: buf.into(),
                num_values,
                encoding,
                num_nulls: header.nulls,
                num_rows: header.values,
                def_levels_byte_len: header.definitions,
                rep_levels_byte_len: header.repetitions,
                is_compressed: header.is_packed,
                statistics: None,
            },
            _ => Page::DataPage {
                buf: buf.into(),
                num_values,
                encoding,
                def_level_encoding: Encoding::RLE,
                rep_level_encoding: Encoding::RLE,
                statistics: None,
            },
        })
    }

    /// Counts a page that is read or skipped.
    fn pass(&mut self, header: &Header) -> Result<()> {
        self.at += header.packed;
        if header.kind != PageType::DICTIONARY_PAGE {
            let left = self.left.checked_sub(u64::from(header.values));
            self.left = left.ok_or_else(|| broken("its pages hold more rows than it declares"))?;
        }
        Ok(())
    }

    /// Refuses counts for which a decoder would allocate memory without checking them.
    fn plausible(&self, header: &Header, values: &[u8]) -> Result<()> {
        let count = u64::from(header.values);
        match header.kind {
            PageType::DICTIONARY_PAGE => {
                let room = values.len() as u64 / self.shape.width;
                if count > room.min(self.shape.values) {
                    return Err(broken(
                        "a dictionary declares more values than there can be",
                    ));
                }
            }
            _ if header.nulls > header.values => {
                return Err(broken("a page has more missing values than rows"));
            }
            _ => {}
        }
        let is_delta = matches!(
            header.encoding,
            Encoding::DELTA_BINARY_PACKED
                | Encoding::DELTA_LENGTH_BYTE_ARRAY
                | Encoding::DELTA_BYTE_ARRAY
        );
        if !is_delta || header.kind == PageType::DICTIONARY_PAGE {
            return Ok(());
        }
        if self.shape.is_repeated {
            return Err(broken("its lists have an encoding that is not supported"));
        }
        // In version 1 pages the levels, with their length, precede the values.
        let levels = match (
            header.kind,
            self.shape.is_nullable,
            values.first_chunk::<4>(),
        ) {
            (PageType::DATA_PAGE, true, Some(length)) => 4 + u32::from_le_bytes(*length) as usize,
            (PageType::DATA_PAGE, true, None) => return Err(broken("a page ends early")),
            _ => 0,
        };
        let values = values
            .get(levels..)
            .ok_or_else(|| broken("a page ends early"))?;
        match deltas(values)? > count {
            true => Err(broken("a page has more values than rows")),
            false => Ok(()),
        }
    }
}

/// Returns the number of values that a delta-encoded block declares.
fn deltas(values: &[u8]) -> Result<u64> {
    let mut compact = Compact::new(values);
    // The sizes of a block and of its parts come first.
    compact.number()?;
    compact.number()?;
    compact.number()
}

impl Iterator for Pages {
    type Item = Result<Page>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}

impl PageReader for Pages {
    fn get_next_page(&mut self) -> Result<Option<Page>> {
        match self.header()? {
            Some(header) => self.page(&header).map(Some),
            None => Ok(None),
        }
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>> {
        self.peeked = self.header()?;
        Ok(self.peeked.as_ref().map(|header| {
            let is_dict = header.kind == PageType::DICTIONARY_PAGE;
            let values = (!is_dict).then_some(header.values as usize);
            PageMetadata {
                // A page of lists may start within a row.
                num_rows: values.filter(|_| !self.shape.is_repeated),
                num_levels: values,
                is_dict,
            }
        }))
    }

    fn skip_next_page(&mut self) -> Result<()> {
        match self.header()? {
            Some(header) => self.pass(&header),
            None => Ok(()),
        }
    }
}

/// The header of a page.
struct Header {
    kind: PageType,
    unpacked: u64,
    packed: u64,
    values: u32,
    nulls: u32,
    encoding: Encoding,
    /// Sizes of the levels, which precede the values uncompressed.
    definitions: u32,
    repetitions: u32,
    is_packed: bool,
}

impl Header {
    fn read(compact: &mut Compact<impl Read>) -> Result<Self> {
        let mut own = [None; 4];
        // The fields of the structure for this kind of page, by field number in the header.
        let mut inner = [None; 8];
        let mut inside = None;
        let mut is_packed = true;
        compact.fields(&mut |compact, number, kind| {
            Ok(match (number, kind) {
                (1..=3, 5) => {
                    own[number as usize] = Some(compact.integer()?);
                    true
                }
                (5 | 7 | 8, STRUCT) => {
                    inside = Some(number);
                    compact.fields(&mut |compact, field, kind| {
                        Ok(match (field, kind) {
                            (1..=6, 5) => {
                                inner[field as usize] = Some(compact.integer()?);
                                true
                            }
                            (7, 1 | 2) => {
                                is_packed = kind == 1;
                                true
                            }
                            _ => false,
                        })
                    })?;
                    true
                }
                _ => false,
            })
        })?;
        let size = |value: Option<i64>| {
            let size = value.and_then(|value| u32::try_from(value).ok());
            size.ok_or_else(|| broken("a page's header has no size, or a negative one"))
        };
        let (kind, version) = match own[1] {
            Some(0) => (PageType::DATA_PAGE, 1),
            Some(1) => (PageType::INDEX_PAGE, 0),
            Some(2) => (PageType::DICTIONARY_PAGE, 0),
            Some(3) => (PageType::DATA_PAGE_V2, 2),
            _ => return Err(broken("a page has an unknown kind")),
        };
        let belongs = match kind {
            PageType::DATA_PAGE => Some(5),
            PageType::DICTIONARY_PAGE => Some(7),
            PageType::DATA_PAGE_V2 => Some(8),
            PageType::INDEX_PAGE => None,
        };
        let mut header = Self {
            kind,
            unpacked: u64::from(size(own[2])?),
            packed: u64::from(size(own[3])?),
            values: 0,
            nulls: 0,
            encoding: Encoding::PLAIN,
            definitions: 0,
            repetitions: 0,
            is_packed: true,
        };
        if belongs.is_none() {
            return Ok(header);
        }
        if inside != belongs {
            return Err(broken("a page's header has another kind than the page"));
        }
        header.values = size(inner[1])?;
        header.encoding = encoding(inner[if version == 2 { 4 } else { 2 }])?;
        if version == 2 {
            if inner[3] != inner[1] {
                return Err(broken("a page has different numbers of rows and values"));
            }
            header.nulls = size(inner[2])?;
            header.definitions = size(inner[5])?;
            header.repetitions = size(inner[6])?;
            header.is_packed = is_packed;
        }
        Ok(header)
    }
}

fn encoding(number: Option<i64>) -> Result<Encoding> {
    Ok(match number {
        Some(0) => Encoding::PLAIN,
        Some(2) => Encoding::PLAIN_DICTIONARY,
        Some(3) => Encoding::RLE,
        Some(5) => Encoding::DELTA_BINARY_PACKED,
        Some(6) => Encoding::DELTA_LENGTH_BYTE_ARRAY,
        Some(7) => Encoding::DELTA_BYTE_ARRAY,
        Some(8) => Encoding::RLE_DICTIONARY,
        Some(9) => Encoding::BYTE_STREAM_SPLIT,
        _ => {
            return Err(broken("its values have an encoding that is not supported"));
        }
    })
}
