//! What to do where nobody said what the model's training code did to pictures.

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

/// What wrote the models of `hoodwink train`, which take pixels from 0 to 1.
const OWN: &str = "onnx-grad";

/// Whether the file itself says that pixels go in as they are.
pub(super) fn is_own_model(args: &ModelArgs, prepared: &Prepared) -> bool {
    inspect(&args.model, &prepared.options)
        .is_ok_and(|found| found.file.producer.split(' ').next() == Some(OWN))
}

/// The question that only the user can answer, with the likely answers and what each would come to.
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
            "how pixels were prepared for {} is not known: no file beside it says so, and it cannot be found out from pictures \
             without labels. Name it; likely answers, and what the model then says about {}",
            text(&args.model),
            first.file
        ),
        lines,
    ))
}
