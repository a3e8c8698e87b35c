//! The box: the allowed range of each input value of a network.

use std::sync::Arc;

use crate::{Error, Result};

/// A lower and an upper bound for each value of an input. Either all values share one pair, as in pictures, or each has
/// its own.
#[derive(Clone, Debug, PartialEq)]
pub struct Bounds(Range);

#[derive(Clone, Debug, PartialEq)]
enum Range {
    Same { low: f32, high: f32 },
    Each { low: Arc<[f32]>, high: Arc<[f32]> },
}

impl Bounds {
    /// Bounds of pixels: 0 and 1.
    pub const PIXELS: Self = Self(Range::Same {
        low: 0.0,
        high: 1.0,
    });

    /// Creates the same bounds for all values.
    ///
    /// # Errors
    /// Bounds that are not finite, or `low` above `high`.
    pub fn same(low: f32, high: f32) -> Result<Self> {
        check(low, high).map_err(Error::Invalid)?;
        Ok(Self(Range::Same { low, high }))
    }

    /// Creates separate bounds for each value, in the order of the input's values.
    ///
    /// # Errors
    /// Lists of different lengths, bounds that are not finite, or a lower bound above its upper bound.
    pub fn each(low: Arc<[f32]>, high: Arc<[f32]>) -> Result<Self> {
        if low.len() != high.len() {
            return Err(Error::invalid(format!(
                "there are {} lower and {} upper bounds; each value needs one of each",
                low.len(),
                high.len()
            )));
        }
        for (at, (&low, &high)) in low.iter().zip(high.iter()).enumerate() {
            check(low, high).map_err(|said| Error::invalid(format!("value {at}: {said}")))?;
        }
        Ok(Self(Range::Each { low, high }))
    }

    /// Returns the number of values with separate bounds, or `None` if all share the same.
    pub fn values(&self) -> Option<usize> {
        match &self.0 {
            Range::Same { .. } => None,
            Range::Each { low, .. } => Some(low.len()),
        }
    }

    /// Returns whether an input with this number of values can have these bounds.
    pub fn fit(&self, values: usize) -> bool {
        self.values().is_none_or(|own| own == values)
    }

    /// Returns the lower and the upper bound of one value.
    ///
    /// # Panics
    /// If the bounds are separate and there are too few of them.
    #[inline]
    pub fn at(&self, value: usize) -> (f64, f64) {
        let (low, high) = match &self.0 {
            Range::Same { low, high } => (*low, *high),
            Range::Each { low, high } => (low[value], high[value]),
        };
        (f64::from(low), f64::from(high))
    }

    /// Returns whether every value lies within its bounds. NaN does not.
    pub fn contains(&self, x: &[f32]) -> bool {
        self.fit(x.len())
            && x.iter().enumerate().all(|(at, &x)| {
                let (low, high) = self.at(at);
                (low..=high).contains(&f64::from(x))
            })
    }

    /// Moves every value to the nearest one within its bounds.
    pub fn clamp(&self, x: &mut [f32]) {
        for (at, x) in x.iter_mut().enumerate() {
            let (low, high) = self.at(at);
            // Both bounds are floats, so nothing is rounded.
            *x = f64::from(*x).clamp(low, high) as f32;
        }
    }
}

fn check(low: f32, high: f32) -> Result<(), String> {
    if !low.is_finite() || !high.is_finite() {
        return Err(format!("the bounds {low} and {high} are not both finite"));
    }
    if low > high {
        return Err(format!(
            "the lower bound {low} is above the upper bound {high}"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_contradict_neither_themselves_nor_each_other() {
        let each = |low: &[f32], high: &[f32]| Bounds::each(low.into(), high.into());
        for (bounds, says) in [
            (Bounds::same(1.0, 0.0), "the lower bound 1 is above"),
            (Bounds::same(0.0, f32::NAN), "not both finite"),
            (Bounds::same(f32::NEG_INFINITY, 0.0), "not both finite"),
            (each(&[0.0], &[1.0, 1.0]), "1 lower and 2 upper bounds"),
            (each(&[0.0, 3.0], &[1.0, 2.0]), "value 1: the lower bound 3"),
        ] {
            let message = bounds.unwrap_err().to_string();
            assert!(message.contains(says), "{message}");
        }
        assert_eq!(Bounds::same(0.0, 1.0).unwrap(), Bounds::PIXELS);
        assert!(Bounds::same(2.0, 2.0).is_ok());
    }

    #[test]
    fn values_are_held_against_their_own_bounds() {
        let bounds = Bounds::each(Arc::new([-1.0, 0.0]), Arc::new([1.0, 255.0])).unwrap();
        assert_eq!(bounds.at(1), (0.0, 255.0));
        for (x, inside) in [
            (&[-1.0, 255.0][..], true),
            (&[-1.5, 3.0], false),
            (&[0.0, f32::NAN], false),
            (&[0.0], false),
        ] {
            assert_eq!(bounds.contains(x), inside, "{x:?}");
        }
        let mut x = [-7.0, 256.0];
        bounds.clamp(&mut x);
        assert_eq!(x, [-1.0, 255.0]);
        assert!(Bounds::PIXELS.fit(9) && bounds.fit(2) && !bounds.fit(3));
    }
}
