//! `Attention` of operator set 23: softmax(Q K' * scale + mask) V.

use crate::{
    Result,
    dim::Dim,
    import::{Importer, call::Call, ops::Outputs},
    node::ValueId,
    op::Op,
    tape::Expr,
    tensor::{DType, Tensor},
};

/// Added where attention is forbidden: its exponential is 0, but a row of nothing else doesn't become NaN.
const FORBIDDEN: f32 = -1e30;

/// Returns the result and, if caches are used, all keys and values.
pub(super) fn attention(importer: &mut Importer, call: &Call) -> Result<Outputs> {
    let qkv = [call.input(0)?, call.input(1)?, call.input(2)?];
    let past = match (call.optional(4)?, call.optional(5)?) {
        (Some(keys), Some(values)) => vec![keys, values],
        (None, None) => Vec::new(),
        _ => return Err(call.invalid("has past keys without past values, or the reverse")),
    };
    if call.value(6).is_some() {
        return Err(call.unsupported("pads its keys to a computed length"));
    }
    if call.node.output.get(3).is_some_and(|name| !name.is_empty()) {
        return Err(call.unsupported("returns its scores"));
    }
    let heads = [
        call.int("q_num_heads", 0)?,
        call.int("kv_num_heads", 0)?,
        call.int("kv_num_heads", 0)?,
    ];
    let rank = importer.rank(qkv[0]);
    if ![3, 4].contains(&rank) || qkv.iter().any(|&id| importer.rank(id) != rank) {
        return Err(call.invalid("needs queries, keys and values of rank 3 or 4"));
    }
    let mut values = Vec::new();
    for (&id, heads) in qkv.iter().zip(heads) {
        values.push(match rank {
            3 => by_head(importer, call, id, call.size("heads", heads)?)?,
            _ => id,
        });
    }
    let causal = call.flag("is_causal", false)?;
    let softcap = call.float("softcap", 0.0)?;
    let width = importer.side(call, values[0], 3)?;
    let scale = match call.has("scale") {
        true => call.float("scale", 1.0)?,
        false => 1.0 / (width as f32).sqrt(),
    };
    let [query_heads, key_heads] = [values[0], values[1]].map(|id| importer.side(call, id, 1));
    let (query_heads, key_heads) = (query_heads?, key_heads?);
    if query_heads.checked_rem(key_heads) != Some(0) {
        return Err(call.invalid(format!(
            "has {query_heads} query heads, which is not a multiple of its {key_heads} key heads"
        )));
    }
    let [rows, columns] = [values[0], values[1]].map(|id| importer.side(call, id, 2));
    let (rows, columns) = (rows?, columns?);
    let cached = match past.first() {
        Some(&keys) => importer.side(call, keys, 2)?,
        None => 0,
    };
    let mask = call.optional(3)?;
    let truth = mask.is_some_and(|id| importer.dtype(id) == DType::Bool);
    let inputs: Vec<ValueId> = values.iter().chain(&mask).chain(&past).copied().collect();
    let results = importer.formulas(call, &inputs, |v| {
        let q = v[0];
        let (mask, past) = v[3..].split_at(mask.iter().count());
        let [keys, values] = [0, 1].map(|at| match past.get(at) {
            Some(&past) => past.with(Op::Concat { axis: 2 }, v[1 + at]),
            None => v[1 + at],
        });
        let repeat = query_heads / key_heads;
        let [k, w] = [keys, values].map(|value| repeated_heads(value, key_heads, repeat));
        let mut scores = q.matmul(k.transpose([0, 1, 3, 2])) * scale;
        if softcap > 0.0 {
            scores = (scores / softcap).apply(Op::Tanh) * softcap;
        }
        if let Some(&mask) = mask.first() {
            scores = match truth {
                true => mask.select(scores, FORBIDDEN),
                false => scores + mask,
            };
        }
        if causal {
            let total = cached + columns;
            let seen = (0..rows).flat_map(|row| (0..total).map(move |at| at <= row + cached));
            let seen = Tensor::bool([rows, total], seen.collect::<Vec<_>>())?;
            scores = q.tape().constant(seen).select(scores, FORBIDDEN);
        }
        let mut shares = scores.apply(Op::Softmax { axis: 3 });
        if let (Some(&mask), true) = (mask.first(), truth) {
            // The result is 0 for a row that may attend to nothing.
            shares = mask.select(shares, 0.0);
        }
        let result = shares.matmul(w);
        let result = match rank {
            3 => {
                let shape = result.shape();
                let joined = [shape[1], shape[3]].map(|dim| match dim {
                    Dim::Fixed(side) | Dim::Batch(side) => side,
                });
                let shape = [shape[0], shape[2], Dim::Fixed(joined[0] * joined[1])];
                result.transpose([0, 2, 1, 3]).reshape(shape)
            }
            _ => result,
        };
        Ok(vec![result, keys, values])
    })?;
    Ok(results.into_iter().map(Into::into).collect())
}

/// Reshapes `[N, L, heads * width]` to `[N, heads, L, width]`.
fn by_head(importer: &mut Importer, call: &Call, x: ValueId, heads: usize) -> Result<ValueId> {
    let joined = importer.side(call, x, 2)?;
    if joined.checked_rem(heads) != Some(0) {
        return Err(call.invalid(format!("cannot split {joined} features into {heads} heads")));
    }
    let dims = importer.dims(x);
    importer.formula(call, &[x], |v| {
        let apart = [
            dims[0],
            dims[1],
            Dim::Fixed(heads),
            Dim::Fixed(joined / heads),
        ];
        Ok(v[0].reshape(apart).transpose([0, 2, 1, 3]))
    })
}

/// Repeats each head `repeat` times in a row, for queries that share it.
fn repeated_heads(x: Expr<'_>, heads: usize, repeat: usize) -> Expr<'_> {
    if repeat == 1 {
        return x;
    }
    let shape = x.shape();
    let with = |copies: usize| {
        [
            shape[0],
            Dim::Fixed(heads),
            Dim::Fixed(copies),
            shape[2],
            shape[3],
        ]
    };
    let joined = [shape[0], Dim::Fixed(heads * repeat), shape[2], shape[3]];
    x.reshape(with(1)).expand(with(repeat)).reshape(joined)
}
