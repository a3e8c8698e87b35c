use std::fs::{self, File};
use std::sync::Arc;

use arrow_array::builder::StringDictionaryBuilder;
use arrow_array::types::Int32Type;
use arrow_array::{
    Array, ArrayRef, BinaryArray, BinaryViewArray, BooleanArray, Int8Array, Int16Array, Int32Array,
    Int64Array, LargeBinaryArray, RecordBatch, StringArray, StructArray, UInt8Array, UInt16Array,
    UInt32Array, UInt64Array,
};
use arrow_schema::{Field, Fields, Schema};
use parquet::arrow::ArrowWriter;
use parquet::basic::{BrotliLevel, Compression, Encoding, GzipLevel, ZstdLevel};
use parquet::file::properties::{WriterProperties, WriterPropertiesBuilder, WriterVersion};

use super::*;

/// What stands in place of a picture.
fn content(row: usize) -> Vec<u8> {
    (0..row % 50 + 1).map(|at| (row + at) as u8).collect()
}

fn contents(rows: usize) -> Vec<Vec<u8>> {
    (0..rows).map(content).collect()
}

fn structure(name: &str, values: ArrayRef) -> ArrayRef {
    let field = Field::new(name, values.data_type().clone(), true);
    Arc::new(StructArray::from(vec![(Arc::new(field), values)]))
}

fn pictures(rows: usize) -> ArrayRef {
    let bytes = BinaryArray::from_iter_values(contents(rows));
    structure("bytes", Arc::new(bytes))
}

fn integers(rows: usize) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(
        (0..rows as i64).map(|row| row % 7),
    ))
}

fn write(path: &Path, columns: Vec<(&str, ArrayRef)>, properties: WriterPropertiesBuilder) {
    let field =
        |(name, column): &(&str, ArrayRef)| Field::new(*name, column.data_type().clone(), true);
    let schema = Arc::new(Schema::new(columns.iter().map(field).collect::<Fields>()));
    let columns = columns.into_iter().map(|(_, column)| column).collect();
    let batch = RecordBatch::try_new(schema.clone(), columns).unwrap();
    let file = File::create(path).unwrap();
    let mut writer = ArrowWriter::try_new(file, schema, Some(properties.build())).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

fn open(path: &Path) -> Result<(Tables, Labels)> {
    Tables::open(&[path.to_owned()])
}

fn said(result: Result<impl Sized>) -> String {
    result.err().expect("it is refused").to_string()
}

#[test]
fn rows_of_long_groups_are_read_in_any_order() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.parquet");
    for group in [1000, 300, 64, 5] {
        let properties = WriterProperties::builder()
            .set_max_row_group_row_count(Some(group))
            .set_data_page_row_count_limit(40);
        let columns = vec![("image", pictures(700)), ("label", integers(700))];
        write(&path, columns, properties);
        let (tables, labels) = open(&path).unwrap();
        assert_eq!(tables.count(), 700);
        let expected: Vec<usize> = (0..700).map(|row| row % 7).collect();
        assert_eq!(labels.labels, Some(expected));
        let forward = 0..700;
        let back_and_forth = (0..700).map(|row| row * 37 % 700);
        for row in forward
            .chain(back_and_forth)
            .chain((0..700).rev().step_by(9))
        {
            assert_eq!(
                tables.stored(row).unwrap(),
                content(row),
                "{row} of {group}"
            );
        }
        // Workers are a little apart.
        std::thread::scope(|scope| {
            for worker in 0..3 {
                let tables = &tables;
                scope.spawn(move || {
                    for row in (worker..700).step_by(3) {
                        assert_eq!(tables.stored(row).unwrap(), content(row));
                    }
                });
            }
        });
        assert!(tables.stored(700).is_err());
    }
}

#[test]
fn pages_of_every_kind_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.parquet");
    let codecs = [
        Compression::UNCOMPRESSED,
        Compression::SNAPPY,
        Compression::GZIP(GzipLevel::default()),
        Compression::BROTLI(BrotliLevel::default()),
        Compression::LZ4,
        Compression::LZ4_RAW,
        Compression::ZSTD(ZstdLevel::default()),
    ];
    let encodings = [
        None,
        Some(Encoding::PLAIN),
        Some(Encoding::DELTA_LENGTH_BYTE_ARRAY),
        Some(Encoding::DELTA_BYTE_ARRAY),
    ];
    for codec in codecs {
        for version in [WriterVersion::PARQUET_1_0, WriterVersion::PARQUET_2_0] {
            for encoding in encodings {
                let mut properties = WriterProperties::builder()
                    .set_compression(codec)
                    .set_writer_version(version)
                    .set_dictionary_enabled(encoding.is_none())
                    .set_data_page_row_count_limit(70);
                if let Some(encoding) = encoding {
                    properties = properties.set_column_encoding("image.bytes".into(), encoding);
                }
                let columns = vec![("image", pictures(200)), ("label", integers(200))];
                write(&path, columns, properties);
                let (tables, labels) = open(&path).unwrap();
                for row in 0..200 {
                    let what = format!("{row} of {codec}, {version:?}, {encoding:?}");
                    assert_eq!(tables.stored(row).unwrap(), content(row), "{what}");
                }
                let expected: Vec<usize> = (0..200).map(|row| row % 7).collect();
                assert_eq!(labels.labels, Some(expected), "{codec}");
            }
        }
    }
}

#[test]
fn columns_of_many_types_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.parquet");
    let read = |columns| {
        write(&path, columns, WriterProperties::builder());
        open(&path)
    };
    let refs = contents(3);
    let values = || refs.iter().map(Vec::as_slice);
    let large: ArrayRef = Arc::new(LargeBinaryArray::from_iter_values(values()));
    let views: ArrayRef = Arc::new(BinaryViewArray::from_iter_values(values()));
    let plain: ArrayRef = Arc::new(BinaryArray::from_iter_values(values()));
    for (name, column) in [
        ("image", large.clone()),
        ("img", views.clone()),
        ("picture", plain),
        ("image", structure("bytes", large)),
        ("img", structure("bytes", views)),
    ] {
        let (tables, labels) = read(vec![(name, column)]).unwrap();
        for row in 0..3 {
            assert_eq!(tables.stored(row).unwrap(), content(row), "{name}");
        }
        assert_eq!(labels.labels, None);
    }

    let labels: [ArrayRef; 8] = [
        Arc::new(Int8Array::from(vec![0, 5, 127])),
        Arc::new(Int16Array::from(vec![0, 5, 127])),
        Arc::new(Int32Array::from(vec![0, 5, 127])),
        Arc::new(Int64Array::from(vec![0, 5, 127])),
        Arc::new(UInt8Array::from(vec![0, 5, 127])),
        Arc::new(UInt16Array::from(vec![0, 5, 127])),
        Arc::new(UInt32Array::from(vec![0, 5, 127])),
        Arc::new(UInt64Array::from(vec![0, 5, 127])),
    ];
    for column in labels {
        let kind = column.data_type().clone();
        let (_, labels) = read(vec![("image", pictures(3)), ("label", column)]).unwrap();
        assert_eq!(labels.labels, Some(vec![0, 5, 127]), "{kind}");
    }

    let mut words = StringDictionaryBuilder::<Int32Type>::new();
    words.extend(["a", "b", "a"].map(Some));
    let refused: [(ArrayRef, &str); 6] = [
        (Arc::new(words.finish()), "not integers"),
        (
            Arc::new(BooleanArray::from(vec![true, true, false])),
            "not integers",
        ),
        (structure("class", integers(3)), "not integers"),
        (
            Arc::new(Int32Array::from(vec![Some(1), None, Some(2)])),
            "[1] has no label",
        ),
        (
            Arc::new(Int32Array::from(vec![1, 2, -1])),
            "[2] has the label -1",
        ),
        (
            Arc::new(UInt64Array::from(vec![1, u64::MAX, 2])),
            "[1] has the label",
        ),
    ];
    for (column, says) in refused {
        let refusal = said(read(vec![("image", pictures(3)), ("label", column)]));
        assert!(refusal.contains(says), "{refusal}");
    }
    let texts: ArrayRef = Arc::new(StringArray::from(vec!["a.png", "b.png"]));
    for (name, column, says) in [
        ("image", texts.clone(), "of type text"),
        (
            "image",
            structure("path", texts.clone()),
            "may be in other files",
        ),
        ("image", integers(2), "of type INT64"),
        ("photo", texts, "found photo"),
    ] {
        let refusal = said(read(vec![(name, column)]));
        assert!(refusal.contains(says), "{refusal}");
    }
}

#[test]
fn a_missing_picture_is_named_by_its_row() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.parquet");
    let values = (0..30).map(|row| (row != 21).then(|| content(row)));
    let column: ArrayRef = Arc::new(BinaryArray::from_iter(values));
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(8));
    write(&path, vec![("image", column)], properties);
    let (tables, _) = open(&path).unwrap();
    for row in 0..30 {
        match row {
            21 => assert!(said(tables.stored(row)).contains("row 21 has no picture")),
            _ => assert_eq!(tables.stored(row).unwrap(), content(row)),
        }
    }
}

/// A table of pictures alone, and where its footer begins.
fn plain(path: &Path, rows: usize) -> (Vec<u8>, usize) {
    let properties = WriterProperties::builder().set_dictionary_enabled(false);
    write(path, vec![("image", pictures(rows))], properties);
    let bytes = fs::read(path).unwrap();
    let length = u32::from_le_bytes(bytes[bytes.len() - 8..][..4].try_into().unwrap());
    let footer = bytes.len() - 8 - length as usize;
    (bytes, footer)
}

/// A number as Thrift writes it in a field of 64 bits that follows the one before.
fn field(number: u64) -> Vec<u8> {
    let mut bytes = vec![0x16];
    let mut left = number << 1;
    while left > 127 {
        bytes.push(left as u8 | 128);
        left >>= 7;
    }
    bytes.push(left as u8);
    bytes
}

/// Rewrites the counts in a table's footer: all of them, or the first few.
fn counted(path: &Path, count: u64, times: usize) {
    let (bytes, footer) = plain(path, 1234);
    let (old, new) = (field(1234), field(count));
    let mut rest = &bytes[footer..bytes.len() - 8];
    let (mut changed, mut left) = (Vec::new(), times);
    while !rest.is_empty() {
        match rest.strip_prefix(&old[..]).filter(|_| left > 0) {
            Some(after) => {
                changed.extend(&new);
                (rest, left) = (after, left - 1);
            }
            None => {
                changed.push(rest[0]);
                rest = &rest[1..];
            }
        }
    }
    let length = (changed.len() as u32).to_le_bytes();
    fs::write(
        path,
        [&bytes[..footer], &changed, &length, b"PAR1"].concat(),
    )
    .unwrap();
}

#[test]
fn counts_are_compared() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.parquet");
    for count in [1235, 1_000_000, 1 << 40, 1 << 62, (1 << 63) - 1] {
        counted(&path, count, 1);
        let refusal = said(open(&path));
        assert!(
            refusal.contains("but its row groups have 1234"),
            "{refusal}"
        );
        counted(&path, count, 2);
        assert!(said(open(&path)).contains("row group 0 declares"));
        // Nothing in the footer contradicts these.
        counted(&path, count, 9);
        match open(&path) {
            Ok((tables, _)) => {
                assert_eq!((count, tables.stored(1233).unwrap()), (1235, content(1233)));
                assert!(said(tables.stored(1234)).contains("fewer rows than it declares"));
            }
            Err(refusal) => assert!(
                refusal.to_string().contains("cannot hold that many"),
                "{count}: {refusal}"
            ),
        }
    }
}

#[test]
fn many_rows_without_a_picture_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.parquet");
    let nothing: ArrayRef = Arc::new(BinaryArray::from(vec![None::<&[u8]>; 300_000]));
    write(&path, vec![("image", nothing)], WriterProperties::builder());
    assert!(said(open(&path)).contains("declares 300000 rows, but"));
}

#[test]
fn pages_that_unpack_to_much_more_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.parquet");
    let blank: ArrayRef = Arc::new(BinaryArray::from_iter_values([vec![0; 80 << 20]]));
    for codec in [
        Compression::SNAPPY,
        Compression::ZSTD(ZstdLevel::default()),
        Compression::GZIP(GzipLevel::default()),
        Compression::BROTLI(BrotliLevel::default()),
        Compression::LZ4,
    ] {
        let properties = WriterProperties::builder()
            .set_compression(codec)
            .set_dictionary_enabled(false);
        write(&path, vec![("image", blank.clone())], properties);
        let (tables, _) = open(&path).unwrap();
        let refusal = said(tables.stored(0));
        assert!(refusal.contains("8 times its size"), "{refusal}");
    }
}

#[test]
fn schemas_are_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.parquet");
    let refusal = |columns| {
        write(&path, columns, WriterProperties::builder());
        said(open(&path))
    };
    let mut deep = integers(1);
    for _ in 0..100 {
        deep = structure("a", deep);
    }
    let long = "long ".repeat(1 << 16);
    let named = refusal(vec![(&long, integers(1))]);
    assert!(named.len() < 400 && named.contains("long long"), "{named}");
    assert!(refusal(vec![("image", deep)]).contains("nested too deeply"));
    let names: Vec<String> = (0..12_000).map(|at| at.to_string()).collect();
    let wide = names.iter().map(|name| (name.as_str(), integers(1)));
    assert!(refusal(wide.collect()).contains("too many columns"));
}

#[test]
fn damaged_files_never_panic() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.parquet");
    let (bytes, _) = plain(&path, 12);
    let try_all = |changed: &[u8]| {
        fs::write(&path, changed).unwrap();
        if let Ok((tables, _)) = open(&path) {
            for row in 0..tables.count().min(20) {
                // Whether it can still be read depends on the place.
                let _ = tables.stored(row);
            }
        }
    };
    for at in 0..bytes.len() {
        for flip in [0x01, 0x10, 0x80, 0xff] {
            let mut changed = bytes.clone();
            changed[at] ^= flip;
            try_all(&changed);
        }
        try_all(&bytes[..at]);
        assert!(open(&path).is_err(), "cut to {at}");
    }
}
