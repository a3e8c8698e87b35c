//! Rows as Parquet tables.
//!
//! Nested values are flat columns with a prefix (`float_label`, `saved_linf`), which pandas, DuckDB and similar tools
//! read directly. The same rows always give the same bytes.

use std::path::Path;
use std::sync::Arc;

use arrow_array::builder::{Float32Builder, ListBuilder};
use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Float64Type, UInt32Type, UInt64Type};
use arrow_array::{
    Array, ArrayRef, BooleanArray, Float32Array, Float64Array, RecordBatch, StringArray,
    UInt32Array, UInt64Array,
};
use arrow_schema::{DataType, Field, Schema};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;

use super::{Outcome, Row, Seen, Verdict};
use crate::error::{Error, Result};
use crate::panics::caught;
use crate::parquet_file::Table;
use crate::threat::Distances;
use crate::threat::Eps;

/// Version of the schema below, stored in the metadata of every table and in `run.toml`. It increases when a column
/// changes its name, type or meaning.
pub const SCHEMA: u32 = 2;

/// Key of the schema version in a table's metadata.
const SCHEMA_KEY: &str = "hoodwink.schema";

/// The type of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// True or false.
    Bool,
    /// A 32-bit count or class.
    U32,
    /// A 64-bit count.
    U64,
    /// A 32-bit float.
    F32,
    /// A 64-bit float.
    F64,
    /// UTF-8 text.
    Text,
    /// A list of 32-bit floats.
    F32List,
}

/// One column of the table.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
    /// Whether it may be null, which means "there is none" and never zero.
    pub optional: bool,
    /// Its meaning.
    pub meaning: &'static str,
}

const fn always(name: &'static str, kind: Kind, meaning: &'static str) -> Column {
    Column {
        name,
        kind,
        optional: false,
        meaning,
    }
}

const fn maybe(name: &'static str, kind: Kind, meaning: &'static str) -> Column {
    Column {
        name,
        kind,
        optional: true,
        meaning,
    }
}

/// All columns in file order. The columns of a verdict are null together.
#[rustfmt::skip]
pub const COLUMNS: [Column; 32] = [
    always("index", Kind::U64, "index of the sample in its data set"),
    always("sample", Kind::Text, "content hash of the sample's picture"),
    always("file", Kind::Text, "file or array row the sample came from"),
    always("label", Kind::U32, "true class"),
    always("attack", Kind::Text, "name of the attack"),
    always("recipe", Kind::Text, "its full recipe, as in run.toml; sample, recipe and eps identify a row"),
    maybe("eps_text", Kind::Text, "radius of the ball in pixel space, as typed; null if an attack looked for the smallest distance without one"),
    maybe("eps", Kind::F64, "radius of the ball in pixel space, with values in [0, 1]; null like eps_text"),
    maybe("target", Kind::U32, "target class; null for untargeted attacks"),
    always("clean_label", Kind::U32, "most likely class of the original"),
    always("clean_confidence", Kind::F32, "its softmax probability, in [0, 1]"),
    always("outcome", Kind::Text, "already-wrong, already-broken, fooled, robust, zero-gradient or budget-spent"),
    maybe("float_label", Kind::U32, "most likely class of the candidate as the attack returned it; null if nothing was attempted"),
    maybe("float_confidence", Kind::F32, "its softmax probability, in [0, 1]"),
    maybe("float_success", Kind::Bool, "whether the candidate reaches the goal within the threat model"),
    maybe("float_l0", Kind::F64, "number of channel values that differ from the original"),
    maybe("float_l1", Kind::F64, "sum of absolute differences in pixel space"),
    maybe("float_l2", Kind::F64, "root of the sum of squared differences in pixel space"),
    maybe("float_linf", Kind::F64, "largest absolute difference in pixel space"),
    maybe("saved_label", Kind::U32, "most likely class of the 8-bit PNG, written and read back; null if nothing was attempted"),
    maybe("saved_confidence", Kind::F32, "its softmax probability, in [0, 1]"),
    maybe("saved_success", Kind::Bool, "whether the PNG reaches the goal within the threat model"),
    maybe("saved_l0", Kind::F64, "number of the PNG's channel values that differ from the original"),
    maybe("saved_l1", Kind::F64, "sum of the PNG's absolute differences in pixel space"),
    maybe("saved_l2", Kind::F64, "root of the sum of the PNG's squared differences in pixel space"),
    maybe("saved_linf", Kind::F64, "largest absolute difference of the PNG in pixel space"),
    maybe("noise_label", Kind::U32, "most likely class of the perturbation's sign map, shown as a picture; null if the model was not asked, as in all new runs (see shown.json)"),
    maybe("noise_confidence", Kind::F32, "its softmax probability, in [0, 1]"),
    always("queries", Kind::U64, "forward passes spent on this row"),
    always("gradients", Kind::U64, "gradients spent on this row, each with its forward pass"),
    always("loss", Kind::F32List, "loss at every step of the restart that produced the candidate"),
    maybe("picture", Kind::Text, "the adversarial PNG, relative to the run folder; rows of one attack may share one; null if nothing was attempted"),
];

/// Returns the bytes of a Parquet file (snappy) with these rows.
pub fn encode(rows: &[Row]) -> Result<Vec<u8>> {
    written(arrays(rows))
}

fn written(arrays: Vec<ArrayRef>) -> Result<Vec<u8>> {
    let schema = Arc::new(schema());
    let properties = WriterProperties::builder()
        .set_created_by("hoodwink".into())
        .set_compression(Compression::SNAPPY)
        .set_key_value_metadata(Some(vec![KeyValue::new(
            SCHEMA_KEY.into(),
            SCHEMA.to_string(),
        )]))
        .build();
    let write = || {
        let batch = RecordBatch::try_new(schema.clone(), arrays)?;
        let mut writer = ArrowWriter::try_new(Vec::new(), schema.clone(), Some(properties))?;
        writer.write(&batch)?;
        writer.into_inner()
    };
    write().map_err(|e| Error::invalid(format!("the rows cannot be written as Parquet: {e}")))
}

/// Maximum length of a text in a table, in bytes. Rows may share one, so a small file can hold many.
const MAX_TEXT_BYTES: usize = 1 << 16;

/// Maximum total length of all texts of a table, in bytes, for the same reason.
const MAX_TEXTS_BYTES: usize = 1 << 27;

/// Reads the rows of a Parquet file, at most `most` of them.
///
/// A table with another schema version is [`Error::Unsupported`]. A table that lacks columns, or whose values
/// contradict each other, is [`Error::Invalid`].
pub fn read(path: &Path, most: usize) -> Result<Vec<Row>> {
    let invalid = |e: &dyn std::fmt::Display| Error::invalid(format!("{}: {e}", path.display()));
    let table = Table::open(path)?;
    check_version(table.note(SCHEMA_KEY)).map_err(|e| match e {
        Error::Unsupported(why) => Error::unsupported(format!("{}: {why}", path.display())),
        other => invalid(&other),
    })?;
    let batches = table.batches(most)?;
    check_columns(&batches.schema()?).map_err(|e| invalid(&e))?;
    let (mut rows, mut texts) = (Vec::new(), 0);
    let mut batches = batches.read()?;
    while let Some(batch) = caught(|| batches.next()).map_err(|_| invalid(&"it is damaged"))? {
        let batch = batch.map_err(|e| invalid(&e))?;
        for at in 0..batch.num_rows() {
            let row =
                row(&batch, at).map_err(|e| invalid(&format_args!("row {}: {e}", rows.len())))?;
            texts += text_bytes(&row);
            if texts > MAX_TEXTS_BYTES {
                return Err(invalid(&format_args!(
                    "its texts have more than {MAX_TEXTS_BYTES} bytes"
                )));
            }
            rows.push(row);
        }
    }
    Ok(rows)
}

fn text_bytes(row: &Row) -> usize {
    let optional = [row.picture.as_deref(), row.eps_text()];
    let texts = [&row.sample, &row.file, &row.attack, &row.recipe].map(String::as_str);
    let all = texts.into_iter().chain(optional.into_iter().flatten());
    all.map(str::len).sum()
}

fn schema() -> Schema {
    let field = |column: &Column| Field::new(column.name, column.kind.arrow(), column.optional);
    Schema::new(COLUMNS.iter().map(field).collect::<Vec<_>>())
}

impl Kind {
    fn arrow(self) -> DataType {
        match self {
            Self::Bool => DataType::Boolean,
            Self::U32 => DataType::UInt32,
            Self::U64 => DataType::UInt64,
            Self::F32 => DataType::Float32,
            Self::F64 => DataType::Float64,
            Self::Text => DataType::Utf8,
            Self::F32List => DataType::List(Arc::new(loss_item())),
        }
    }
}

fn loss_item() -> Field {
    Field::new("element", DataType::Float32, false)
}

fn check_version(version: Option<&str>) -> Result<()> {
    match version {
        None => Err(Error::invalid(
            "this Parquet file is not a table of rows written by hoodwink",
        )),
        Some(v) if v == SCHEMA.to_string() => Ok(()),
        Some(v) => Err(Error::unsupported(format!(
            "the table has schema version {v}, this program reads version {SCHEMA}; \
             use the version of hoodwink that run.toml names"
        ))),
    }
}

fn check_columns(found: &Schema) -> Result<()> {
    for wanted in schema().fields() {
        let name = wanted.name();
        let Ok(field) = found.field_with_name(name) else {
            return Err(Error::invalid(format!(
                "the table lacks the column '{name}'"
            )));
        };
        if field.data_type() != wanted.data_type() {
            return Err(Error::invalid(format!(
                "the column '{name}' holds {}, not {}",
                field.data_type(),
                wanted.data_type()
            )));
        }
        if field.is_nullable() && !wanted.is_nullable() {
            return Err(Error::invalid(format!(
                "values of the column '{name}' may be missing, but all are required"
            )));
        }
    }
    Ok(())
}

/// Returns the columns of `rows`, in the order of [`COLUMNS`].
fn arrays(rows: &[Row]) -> Vec<ArrayRef> {
    let text = |of: fn(&Row) -> &str| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(rows.iter().map(of)))
    };
    let optional_text = |of: fn(&Row) -> Option<&str>| -> ArrayRef {
        Arc::new(rows.iter().map(of).collect::<StringArray>())
    };
    let u32s = |of: &dyn Fn(&Row) -> Option<u32>| -> ArrayRef {
        Arc::new(rows.iter().map(of).collect::<UInt32Array>())
    };
    let u64s = |of: fn(&Row) -> u64| -> ArrayRef {
        Arc::new(UInt64Array::from_iter_values(rows.iter().map(of)))
    };
    let f32s = |of: &dyn Fn(&Row) -> Option<f32>| -> ArrayRef {
        Arc::new(rows.iter().map(of).collect::<Float32Array>())
    };
    let f64s = |of: &dyn Fn(&Row) -> Option<f64>| -> ArrayRef {
        Arc::new(rows.iter().map(of).collect::<Float64Array>())
    };
    let verdict = |of: fn(&Row) -> Option<Verdict>| -> [ArrayRef; 7] {
        [
            u32s(&|row| of(row).map(|v| v.seen.label)),
            f32s(&|row| of(row).map(|v| v.seen.confidence)),
            Arc::new(
                rows.iter()
                    .map(|row| of(row).map(|v| v.success))
                    .collect::<BooleanArray>(),
            ),
            f64s(&|row| of(row).map(|v| v.norms.l0)),
            f64s(&|row| of(row).map(|v| v.norms.l1)),
            f64s(&|row| of(row).map(|v| v.norms.l2)),
            f64s(&|row| of(row).map(|v| v.norms.linf)),
        ]
    };
    let mut losses = ListBuilder::new(Float32Builder::new()).with_field(loss_item());
    for row in rows {
        losses.values().append_slice(&row.loss);
        losses.append(true);
    }
    let mut arrays = vec![
        u64s(|row| row.index),
        text(|row| &row.sample),
        text(|row| &row.file),
        u32s(&|row| Some(row.label)),
        text(|row| &row.attack),
        text(|row| &row.recipe),
        optional_text(Row::eps_text),
        f64s(&|row| row.eps.as_ref().map(Eps::value)),
        u32s(&|row| row.target),
        u32s(&|row| Some(row.clean.label)),
        f32s(&|row| Some(row.clean.confidence)),
        text(|row| row.outcome.word()),
    ];
    arrays.extend(verdict(|row| row.float));
    arrays.extend(verdict(|row| row.saved));
    arrays.extend([
        u32s(&|row| row.noise.map(|seen| seen.label)),
        f32s(&|row| row.noise.map(|seen| seen.confidence)),
        u64s(|row| row.queries),
        u64s(|row| row.gradients),
        Arc::new(losses.finish()),
        optional_text(|row| row.picture.as_deref()),
    ]);
    arrays
}

/// Returns the row at `at` of a batch whose columns have been checked.
fn row(batch: &RecordBatch, at: usize) -> Result<Row> {
    let cells = Cells { batch, at };
    let outcome = cells.text("outcome")?;
    Ok(Row {
        index: cells.u64("index")?,
        sample: cells.text("sample")?,
        file: cells.text("file")?,
        label: cells.u32("label")?,
        attack: cells.text("attack")?,
        recipe: cells.text("recipe")?,
        eps: cells.eps()?,
        target: cells.optional("target", Cells::u32)?,
        clean: cells.seen("clean")?,
        outcome: Outcome::from_word(&outcome)
            .ok_or_else(|| Error::invalid(format!("'{outcome}' is not an outcome")))?,
        float: cells.optional_group("float", &VERDICT, Cells::verdict)?,
        saved: cells.optional_group("saved", &VERDICT, Cells::verdict)?,
        noise: cells.optional_group("noise", &SEEN, Cells::seen)?,
        queries: cells.u64("queries")?,
        gradients: cells.u64("gradients")?,
        loss: cells.losses()?,
        picture: cells.optional("picture", Cells::text)?,
    })
}

const SEEN: [&str; 2] = ["label", "confidence"];
const VERDICT: [&str; 7] = ["label", "confidence", "success", "l0", "l1", "l2", "linf"];

/// The cells of one row, by column name. The columns' types have been checked.
struct Cells<'a> {
    batch: &'a RecordBatch,
    at: usize,
}

impl Cells<'_> {
    fn column(&self, name: &str) -> Result<&ArrayRef> {
        self.batch
            .column_by_name(name)
            .ok_or_else(|| Error::invalid(format!("the column '{name}' is missing")))
    }

    fn is_null(&self, name: &str) -> Result<bool> {
        Ok(self.column(name)?.is_null(self.at))
    }

    fn bool(&self, name: &str) -> Result<bool> {
        Ok(self.column(name)?.as_boolean().value(self.at))
    }

    fn u32(&self, name: &str) -> Result<u32> {
        Ok(self
            .column(name)?
            .as_primitive::<UInt32Type>()
            .value(self.at))
    }

    fn u64(&self, name: &str) -> Result<u64> {
        Ok(self
            .column(name)?
            .as_primitive::<UInt64Type>()
            .value(self.at))
    }

    fn f32(&self, name: &str) -> Result<f32> {
        Ok(self
            .column(name)?
            .as_primitive::<Float32Type>()
            .value(self.at))
    }

    fn f64(&self, name: &str) -> Result<f64> {
        Ok(self
            .column(name)?
            .as_primitive::<Float64Type>()
            .value(self.at))
    }

    fn text(&self, name: &str) -> Result<String> {
        let text = self.column(name)?.as_string::<i32>().value(self.at);
        match text.len() <= MAX_TEXT_BYTES {
            true => Ok(text.to_owned()),
            false => Err(Error::invalid(format!(
                "its '{name}' has {} bytes, more than {MAX_TEXT_BYTES}",
                text.len()
            ))),
        }
    }

    fn eps(&self) -> Result<Option<Eps>> {
        let text = self.optional("eps_text", Self::text)?;
        let value = self.optional("eps", Self::f64)?;
        let eps: Option<Eps> = text.as_deref().map(str::parse).transpose()?;
        let same = |eps: &Eps| Some(eps.text()) == text.as_deref() && Some(eps.value()) == value;
        match eps.as_ref().map_or(value.is_none(), same) {
            true => Ok(eps),
            false => Err(Error::invalid(format!(
                "its eps is {}, but its eps_text is {}",
                value.map_or("null".to_owned(), |value| value.to_string()),
                text.map_or("null".to_owned(), |text| format!("{text:?}"))
            ))),
        }
    }

    fn losses(&self) -> Result<Vec<f32>> {
        let list = self.column("loss")?.as_list::<i32>().value(self.at);
        Ok(list.as_primitive::<Float32Type>().values().to_vec())
    }

    fn seen(&self, prefix: &str) -> Result<Seen> {
        Ok(Seen {
            label: self.u32(&format!("{prefix}_label"))?,
            confidence: self.f32(&format!("{prefix}_confidence"))?,
        })
    }

    fn verdict(&self, prefix: &str) -> Result<Verdict> {
        Ok(Verdict {
            seen: self.seen(prefix)?,
            success: self.bool(&format!("{prefix}_success"))?,
            norms: Distances {
                l0: self.f64(&format!("{prefix}_l0"))?,
                l1: self.f64(&format!("{prefix}_l1"))?,
                l2: self.f64(&format!("{prefix}_l2"))?,
                linf: self.f64(&format!("{prefix}_linf"))?,
            },
        })
    }

    fn optional<T>(&self, name: &str, read: fn(&Self, &str) -> Result<T>) -> Result<Option<T>> {
        match self.is_null(name)? {
            true => Ok(None),
            false => read(self, name).map(Some),
        }
    }

    /// Reads a value stored in the columns `prefix_name`, which are all null or all set.
    fn optional_group<T>(
        &self,
        prefix: &str,
        names: &[&str],
        read: fn(&Self, &str) -> Result<T>,
    ) -> Result<Option<T>> {
        let mut nulls = 0;
        for name in names {
            nulls += usize::from(self.is_null(&format!("{prefix}_{name}"))?);
        }
        match nulls {
            0 => read(self, prefix).map(Some),
            n if n == names.len() => Ok(None),
            _ => Err(Error::invalid(format!(
                "some columns of '{prefix}_…' are null and some are not"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::results::example::fooled;

    fn seen() -> impl Strategy<Value = Seen> {
        (any::<u32>(), 0.0f32..=1.0).prop_map(|(label, confidence)| Seen { label, confidence })
    }

    fn verdict() -> impl Strategy<Value = Verdict> {
        let distance = || 0.0f64..1e6;
        let norms = (distance(), distance(), distance(), distance())
            .prop_map(|(l0, l1, l2, linf)| Distances { l0, l1, l2, linf });
        (seen(), any::<bool>(), norms).prop_map(|(seen, success, norms)| Verdict {
            seen,
            success,
            norms,
        })
    }

    fn any_row() -> impl Strategy<Value = Row> {
        let names = ("\\PC*", "\\PC*", "\\PC*", "\\PC*");
        let model = (
            seen(),
            prop::sample::select(Outcome::ALL.to_vec()),
            prop::option::of(verdict()),
            prop::option::of(verdict()),
            prop::option::of(seen()),
        );
        let cost = (
            any::<u64>(),
            any::<u64>(),
            prop::collection::vec(-1e9f32..1e9, 0..5),
        );
        let eps = (0.0f64..1.0).prop_map(|eps| eps.to_string().parse().unwrap());
        let sample = (any::<u64>(), any::<u32>(), prop::option::of(eps));
        let optional = (prop::option::of(any::<u32>()), prop::option::of("\\PC*"));
        (sample, names, model, cost, optional).prop_map(
            |(
                (index, label, eps),
                (sample, file, attack, recipe),
                (clean, outcome, float, saved, noise),
                (queries, gradients, loss),
                (target, picture),
            )| Row {
                index,
                sample,
                file,
                label,
                attack,
                recipe,
                eps,
                target,
                clean,
                outcome,
                float,
                saved,
                noise,
                queries,
                gradients,
                loss,
                picture,
            },
        )
    }

    fn read_bytes(bytes: &[u8]) -> Result<Vec<Row>> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        read(file.path(), 20)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn rows_survive_the_way_to_parquet_and_back(rows in prop::collection::vec(any_row(), 0..20)) {
            let bytes = encode(&rows).unwrap();
            prop_assert_eq!(&encode(&rows).unwrap(), &bytes);
            prop_assert_eq!(read_bytes(&bytes).unwrap(), rows);
        }

        #[test]
        fn damaged_tables_are_refused_or_read_but_never_panic(at in 0usize..2000, byte in any::<u8>()) {
            let mut bytes = encode(&[]).unwrap();
            let at = at % bytes.len();
            bytes[at] = byte;
            let _ = read_bytes(&bytes);
        }
    }

    /// A table whose schema is ours after `change`, with this version in its metadata and no rows.
    fn table(version: Option<&str>, change: impl Fn(Field) -> Option<Field>) -> Vec<u8> {
        let fields: Vec<Field> = schema()
            .fields()
            .iter()
            .filter_map(|field| change(field.as_ref().clone()))
            .collect();
        let metadata = version.map(|v| vec![KeyValue::new(SCHEMA_KEY.into(), v.to_string())]);
        let properties = WriterProperties::builder()
            .set_key_value_metadata(metadata)
            .build();
        let schema = Arc::new(Schema::new(fields));
        ArrowWriter::try_new(Vec::new(), schema, Some(properties))
            .unwrap()
            .into_inner()
            .unwrap()
    }

    #[test]
    fn other_tables_are_refused_in_a_sentence() {
        let message = |bytes: Vec<u8>| read_bytes(&bytes).unwrap_err().to_string();
        assert!(message(table(None, Some)).contains("not a table of rows"));
        assert!(message(table(Some("7"), Some)).contains("schema version 7"));
        assert!(matches!(
            read_bytes(&table(Some("7"), Some)),
            Err(Error::Unsupported(_))
        ));
        let without_loss = table(Some("2"), |field| (field.name() != "loss").then_some(field));
        assert!(message(without_loss).contains("lacks the column 'loss'"));
        let wider = table(Some("2"), |field| match field.name().as_str() {
            "label" => Some(Field::new("label", DataType::UInt64, false)),
            _ => Some(field),
        });
        assert!(message(wider).contains("the column 'label' holds UInt64, not UInt32"));
        let optional = table(Some("2"), |field| match field.name().as_str() {
            "file" => Some(Field::new("file", DataType::Utf8, true)),
            _ => Some(field),
        });
        assert!(message(optional).contains("values of the column 'file' may be missing"));
        assert!(message(b"no Parquet at all".to_vec()).contains("Parquet"));
    }

    /// A table of one row with other cells in two columns.
    fn with_eps(text: Option<&str>, value: Option<f64>) -> Vec<u8> {
        let mut arrays = arrays(&[fooled(0, "pgd", "8/255")]);
        let at = |name| COLUMNS.iter().position(|column| column.name == name);
        arrays[at("eps_text").unwrap()] = Arc::new(StringArray::from(vec![text]));
        arrays[at("eps").unwrap()] = Arc::new(Float64Array::from(vec![value]));
        written(arrays).unwrap()
    }

    #[test]
    fn a_radius_is_what_it_was_typed_as() {
        let eps = |text, value| {
            let rows = read_bytes(&with_eps(text, value)).map_err(|error| error.to_string());
            rows.map(|rows| rows[0].eps_text().map(str::to_owned))
        };
        let whole = 8.0 / 255.0;
        assert_eq!(eps(None, None), Ok(None));
        assert_eq!(eps(Some("8/255"), Some(whole)), Ok(Some("8/255".into())));
        for (text, value, says) in [
            (
                Some("8/255"),
                Some(0.5),
                "its eps is 0.5, but its eps_text is \"8/255\"",
            ),
            (Some("8/255"), Some(f64::NAN), "its eps is NaN"),
            (Some("8/255"), None, "its eps is null"),
            (Some(" 8/255"), Some(whole), "its eps_text is \" 8/255\""),
            (None, Some(whole), "but its eps_text is null"),
            (Some("eight"), Some(whole), "\"eight\" is not a radius"),
        ] {
            let refusal = eps(text, value).unwrap_err();
            assert!(refusal.contains(says), "{refusal}");
        }
    }

    #[test]
    fn tables_are_no_larger_than_their_rows() {
        let said = |rows: &[Row]| {
            let read = read_bytes(&encode(rows).unwrap());
            read.map(|rows| rows.len()).unwrap_err().to_string()
        };
        let row = fooled(0, "pgd", "8/255");
        assert!(said(&vec![row.clone(); 21]).contains("it says that it has 21 rows"));
        let long = Row {
            file: "a".repeat(MAX_TEXT_BYTES + 1),
            ..row
        };
        assert!(said(&vec![long; 20]).contains("its 'file' has 65537 bytes"));
        let shared = Row {
            file: "a".repeat(MAX_TEXT_BYTES),
            ..fooled(0, "pgd", "8/255")
        };
        let file = tempfile::NamedTempFile::new().unwrap();
        let bytes = encode(&vec![shared; MAX_TEXTS_BYTES / MAX_TEXT_BYTES]).unwrap();
        assert!(bytes.len() < 1 << 20);
        std::fs::write(file.path(), bytes).unwrap();
        let error = read(file.path(), 1 << 20).unwrap_err().to_string();
        assert!(error.contains("its texts have more than"), "{error}");
    }

    #[test]
    fn the_arrays_follow_the_documented_columns() {
        let arrays = arrays(&[]);
        assert_eq!(arrays.len(), COLUMNS.len());
        for (array, column) in arrays.iter().zip(COLUMNS) {
            assert_eq!(array.data_type(), &column.kind.arrow(), "{}", column.name);
        }
    }
}
