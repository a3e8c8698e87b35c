//! Shows what a model is fed: wrong preprocessing is easier to see than to infer from numbers.

use onnx_grad::{Dim, Graph, Tensor};

use super::{Channels, Layout, Preprocessing, pixels};
use crate::{
    Error, Result,
    data::{Dataset, Resize, Transform},
    engine::Engine,
    image::{Image, Picture},
};

/// The margin between and around pictures, in pixels, and its grey level.
const MARGIN: usize = 8;
const GROUND: u8 = 128;

/// The minimum side of a picture on the sheet, in pixels. Smaller ones are enlarged, by a whole factor where it fits,
/// and large ones are shrunk.
const LEAST_SIDE: usize = 112;
const LARGEST_SIDE: usize = 1024;

/// Some pictures as they are in their files and as the model is fed them.
#[derive(Clone, Debug)]
pub struct Shown {
    /// The upper row shows the pictures in their files, scaled to fit. Below each is the model's input: the lowest
    /// value that preprocessing can produce is 0 and the highest 255, and the channels in the model's order are shown
    /// as red, green and blue.
    pub sheet: Picture,
    /// The number of pictures.
    pub pictures: usize,
    /// The channels in the model's order.
    pub channels: Vec<Channel>,
}

/// The values of one channel over all pictures shown.
#[derive(Clone, Debug, PartialEq)]
pub struct Channel {
    /// Red, green, blue or grey.
    pub name: &'static str,
    /// The minimum.
    pub lowest: f32,
    /// The maximum.
    pub highest: f32,
    /// The mean.
    pub mean: f64,
    /// The standard deviation.
    pub deviation: f64,
}

impl Shown {
    /// Shows the first `most` pictures of a data set. The data's transform must be the model's.
    pub fn of(
        preprocessing: &Preprocessing,
        engine: &dyn Engine,
        data: &Dataset,
        most: usize,
    ) -> Result<Self> {
        let count = data.len().min(most);
        let (mut originals, mut fed) = (Vec::new(), Vec::new());
        for index in 0..count {
            originals.push(data.original(index)?);
            let image = data.get(index)?.picture.to_image();
            fed.push(preprocessing.run(engine, &image)?);
        }
        let Some([channels, height, width]) = fed.first().map(Image::shape) else {
            return Err(Error::invalid("there are no pictures to show"));
        };
        // Every step is monotonic, so black and white give the extremes.
        let mut possible = Vec::new();
        for level in [0.0, 1.0] {
            let plain = Image::new([channels, 1, 1], vec![level; channels])?;
            possible.extend_from_slice(preprocessing.run(engine, &plain)?.pixels());
        }
        let (lowest, highest) = range(&possible);
        let scale = (LEAST_SIDE.div_ceil(height.max(width))).max(1);
        let [tile_height, tile_width] =
            [height, width].map(|side| (side * scale).min(LARGEST_SIDE));
        let mut sheet = Sheet::new(count, tile_height, tile_width);
        for (column, (original, fed)) in originals.into_iter().zip(&fed).enumerate() {
            sheet.put(original, 0, column)?;
            let mut levels = fed.clone();
            for value in levels.pixels_mut() {
                *value = (*value - lowest) / (highest - lowest);
            }
            sheet.put(levels.to_picture(), 1, column)?;
        }
        Ok(Self {
            sheet: sheet.finish()?,
            pictures: count,
            channels: (0..channels)
                .map(|at| Channel::of(preprocessing.name(at, channels), at, &fed))
                .collect(),
        })
    }
}

impl Channel {
    fn of(name: &'static str, at: usize, fed: &[Image]) -> Self {
        let plane = |image: &Image| {
            let [_, height, width] = image.shape();
            image.pixels()[at * height * width..][..height * width].to_vec()
        };
        let values: Vec<f32> = fed.iter().flat_map(plane).collect();
        let (lowest, highest) = range(&values);
        let count = values.len() as f64;
        let mean = values.iter().map(|&value| f64::from(value)).sum::<f64>() / count;
        let square = |&value: &f32| (f64::from(value) - mean).powi(2);
        Self {
            name,
            lowest,
            highest,
            mean,
            deviation: (values.iter().map(square).sum::<f64>() / count).sqrt(),
        }
    }
}

impl Preprocessing {
    /// Returns the values that a model is fed for an image in pixel space, as planes in the model's order of channels,
    /// for any order of axes.
    /// of axes.
    pub fn run(&self, engine: &dyn Engine, image: &Image) -> Result<Image> {
        let [channels, height, width] = image.shape();
        let mut graph = Graph::new();
        let x = pixels(&mut graph, Dim::Fixed(1), image.shape());
        let shape = graph.shape(x).to_vec();
        let planes = Self {
            layout: Layout::Nchw,
            ..self.clone()
        };
        let fed = planes.append(&mut graph, x, channels, &shape)?;
        if fed == x {
            return Ok(image.clone());
        }
        graph.output("fed", fed);
        let input = Tensor::f32([1, channels, height, width], image.pixels())?;
        let output = engine.compile(&graph)?.run(&[input])?;
        let values = output.first().and_then(Tensor::as_f32);
        let values = values.ok_or_else(|| {
            Error::invalid("the engine's answer has another shape than the preprocessed picture")
        })?;
        Image::new(image.shape(), values.to_vec())
    }

    /// Returns the name of the model's channel at this position.
    fn name(&self, at: usize, channels: usize) -> &'static str {
        match (channels, self.channels, at) {
            (3, Channels::Rgb, 0) | (3, Channels::Bgr, 2) => "red",
            (3, _, 1) => "green",
            (3, ..) => "blue",
            _ => "grey",
        }
    }
}

fn range(values: &[f32]) -> (f32, f32) {
    let start = (f32::INFINITY, f32::NEG_INFINITY);
    values.iter().fold(start, |(low, high), &value| {
        (low.min(value), high.max(value))
    })
}

/// Two rows of colour pictures, each centred in its tile.
struct Sheet {
    tile: [usize; 2],
    side: [usize; 2],
    bytes: Vec<u8>,
}

impl Sheet {
    fn new(columns: usize, height: usize, width: usize) -> Self {
        let side = [
            MARGIN + 2 * (height + MARGIN),
            MARGIN + columns * (width + MARGIN),
        ];
        Self {
            tile: [height, width],
            side,
            bytes: vec![GROUND; side[0] * side[1] * 3],
        }
    }

    fn put(&mut self, picture: Picture, row: usize, column: usize) -> Result<()> {
        let [height, width] = self.tile;
        let picture = fitted(picture, height, width)?;
        let top = MARGIN + row * (height + MARGIN) + (height - picture.height()) / 2;
        let left = MARGIN + column * (width + MARGIN) + (width - picture.width()) / 2;
        let line = picture.width() * 3;
        for (y, values) in picture.bytes().chunks_exact(line).enumerate() {
            let start = ((top + y) * self.side[1] + left) * 3;
            self.bytes[start..start + line].copy_from_slice(values);
        }
        Ok(())
    }

    fn finish(self) -> Result<Picture> {
        Picture::new(3, self.side[0], self.side[1], self.bytes)
    }
}

/// Returns the picture in colour, as large as the tile allows: enlarged by a whole factor, or shrunk.
fn fitted(picture: Picture, height: usize, width: usize) -> Result<Picture> {
    let in_colour = Transform {
        channels: Some(3),
        ..Transform::default()
    };
    let picture = in_colour.apply(picture)?;
    let (own_height, own_width) = (picture.height(), picture.width());
    let factor = (height / own_height).min(width / own_width);
    if factor == 0 {
        let share = (height as f64 / own_height as f64).min(width as f64 / own_width as f64);
        let side = |own: usize| ((own as f64 * share) as usize).max(1);
        let shrink = Transform {
            resize: Some(Resize::Exact {
                height: side(own_height).min(height),
                width: side(own_width).min(width),
            }),
            ..Transform::default()
        };
        return shrink.apply(picture);
    }
    let mut bytes = Vec::with_capacity(picture.bytes().len() * factor * factor);
    for line in picture.bytes().chunks_exact(own_width * 3) {
        let pixels = line.chunks_exact(3);
        let wide: Vec<u8> = pixels.flat_map(|pixel| pixel.repeat(factor)).collect();
        bytes.extend(wide.repeat(factor));
    }
    Picture::new(3, own_height * factor, own_width * factor, bytes)
}

#[cfg(test)]
mod tests {
    use super::super::InputRange;
    use super::*;
    use crate::engine::{self, Choice};

    /// Two pixels, red (255, 51, 0) and blue (0, 0, 255).
    fn two_pixels() -> Dataset {
        let picture = Picture::new(3, 1, 2, vec![255, 51, 0, 0, 0, 255]).unwrap();
        Dataset::from_pictures("two", vec![(picture, 0)], None).unwrap()
    }

    fn shown(preprocessing: &Preprocessing, data: &Dataset) -> Shown {
        let engine = engine::open(Choice::Rten).unwrap();
        Shown::of(preprocessing, engine.as_ref(), data, 8).unwrap()
    }

    fn pixel(sheet: &Picture, y: usize, x: usize) -> [u8; 3] {
        let at = (y * sheet.width() + x) * 3;
        sheet.bytes()[at..at + 3].try_into().unwrap()
    }

    #[test]
    fn the_numbers_are_those_fed_and_the_picture_is_in_the_order_eaten() {
        let caffe = Preprocessing {
            mean: vec![0.4, 0.2, 0.0],
            std: vec![0.5],
            input_range: InputRange::ZeroTo255,
            channels: Channels::Bgr,
            layout: Layout::Nhwc,
        };
        let found = shown(&caffe, &two_pixels());
        // (x - mean) / 0.5 * 255 for blue (0, 1), green (0.2, 0) and red (1, 0).
        let expected = [
            ("blue", -204.0, 306.0, 51.0, 255.0),
            ("green", -102.0, 0.0, -51.0, 51.0),
            ("red", 0.0, 510.0, 255.0, 255.0),
        ];
        for (channel, (name, lowest, highest, mean, deviation)) in
            found.channels.iter().zip(expected)
        {
            assert_eq!(channel.name, name);
            for (found, expected) in [
                (f64::from(channel.lowest), lowest),
                (f64::from(channel.highest), highest),
                (channel.mean, mean),
                (channel.deviation, deviation),
            ] {
                assert!((found - expected).abs() < 1e-3, "{name}: {channel:?}");
            }
        }
        // Two pixels become squares of 56; values from -204 to 510 become 0 to 255.
        let sheet = &found.sheet;
        assert_eq!(
            (sheet.height(), sheet.width()),
            (8 + 2 * (56 + 8), 8 + 112 + 8)
        );
        assert_eq!(pixel(sheet, 4, 4), [GROUND; 3]);
        assert_eq!(pixel(sheet, 10, 10), [255, 51, 0]);
        assert_eq!(pixel(sheet, 10, 100), [0, 0, 255]);
        assert_eq!(pixel(sheet, 74, 10), [0, 73, 255]);
        assert_eq!(pixel(sheet, 74, 100), [182, 36, 73]);
    }

    #[test]
    fn without_preprocessing_both_rows_are_alike() {
        let found = shown(&Preprocessing::default(), &two_pixels());
        for x in [10, 100] {
            assert_eq!(pixel(&found.sheet, 10, x), pixel(&found.sheet, 74, x));
        }
        assert_eq!(found.channels[0].name, "red");
    }

    #[test]
    fn the_sheet_has_a_column_for_each_picture() {
        let ramp = |height: usize, width: usize| {
            let bytes = (0..height * width).map(|at| (at % 251) as u8).collect();
            (Picture::new(1, height, width, bytes).unwrap(), 0)
        };
        for (pictures, expected) in [
            (vec![ramp(28, 28); 3], (2 * 120 + 8, 3 * 120 + 8)),
            (vec![ramp(28, 28); 20], (2 * 120 + 8, 8 * 120 + 8)),
            (vec![ramp(300, 200)], (2 * 308 + 8, 208 + 8)),
            (vec![ramp(3000, 10)], (2 * 1032 + 8, 18 + 8)),
            (vec![ramp(40, 20), ramp(4000, 7)], (2 * 128 + 8, 2 * 68 + 8)),
        ] {
            let count = pictures.len().min(8);
            let data = Dataset::from_pictures("ramps", pictures, None).unwrap();
            let found = shown(&Preprocessing::default(), &data);
            assert_eq!((found.sheet.height(), found.sheet.width()), expected);
            assert_eq!(found.pictures, count);
            assert_eq!(found.channels.len(), 1);
            assert_eq!(found.channels[0].name, "grey");
        }
    }
}
