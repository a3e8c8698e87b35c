//! What to do if the model's preprocessing is not stated anywhere.

use anyhow::Result;
use hoodwink::{
    Error,
    data::{Dataset, short_name},
    legible,
    model::Classifier,
    oracle::{argmax, confidence},
    preprocessing::{Described, Preprocessing, likely},
};
use onnx_grad::inspect::inspect;

use crate::args::{ModelArgs, Prepared, text};

/// The producer in model files written by `hoodwink train`, which expect pixels from 0 to 1.
const OWN: &str = "onnx-grad";

/// Tells whether the file was written by `hoodwink train`, whose models take pixels unchanged.
pub(super) fn is_own_model(args: &ModelArgs, prepared: &Prepared) -> bool {
    inspect(&args.model, &prepared.options)
        .is_ok_and(|found| found.file.producer.split(' ').next() == Some(OWN))
}

/// Builds an error that asks for the preprocessing. It lists likely values and the prediction that each one gives.
pub(super) fn ask(
    args: &ModelArgs,
    prepared: &Prepared,
    model: &Classifier,
    data: &Dataset,
) -> Result<Error> {
    let first = data.get(0)?;
    let names = data.class_names().unwrap_or_default();
    let known: Vec<(&str, Preprocessing)> = likely(model.input())
        .into_iter()
        .map(|name| {
            let described = Described::read(name)?.preprocessing;
            let layout = prepared.preprocessing.layout;
            Ok((
                name,
                Preprocessing {
                    layout,
                    ..described
                },
            ))
        })
        .collect::<hoodwink::Result<_>>()?;
    let others: Vec<Preprocessing> = known.iter().map(|(_, other)| other.clone()).collect();
    let answers = hoodwink::lint::as_if(model, &prepared.preprocessing, &first.picture, &others)?;
    let option = known.iter().map(|(name, _)| match name.starts_with('-') {
        true => format!("--preprocessing={name}"),
        false => format!("--preprocessing {name}"),
    });
    let options: Vec<String> = option.collect();
    let width = options.iter().map(String::len).max().unwrap_or(0);
    let line = |(option, logits): (&String, &Vec<f32>)| {
        let class = argmax(logits);
        let says = legible::name(&short_name(names, class));
        let sure = 100.0 * confidence(logits, class);
        format!("{option:width$}  {says} {sure:.1}%")
    };
    let lines = options.iter().zip(&answers).map(line).collect();
    Ok(Error::several(
        format!(
            "the preprocessing of {} is unknown: no file next to it states it, and without labels it cannot be inferred. Set \
             --preprocessing; likely values and the prediction each gives for {}",
            text(&args.model),
            first.file
        ),
        lines,
    ))
}
