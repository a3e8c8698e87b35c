//! Data sets with a standard class order, and the names of their classes.

use std::{fmt, str::FromStr};

use super::label_map::normal;
use crate::{Error, nearest::unknown};

/// One short name for each of ImageNet's 1,000 classes, in order: the first synonym in WordNet, or another if two
/// classes share it.
const IMAGENET: &str = include_str!("imagenet_names.txt");

const CIFAR10: &str = "airplane automobile bird cat deer dog frog horse ship truck";

const CIFAR100: &str = "apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel \
     can castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin elephant \
     flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree \
     motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree plain plate poppy \
     porcupine possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper snail snake spider squirrel \
     streetcar sunflower sweet_pepper table tank telephone television tiger tractor train trout tulip turtle wardrobe whale \
     willow_tree wolf woman worm";

const MNIST: &str = "zero one two three four five six seven eight nine";

const FASHION: &str = "T-shirt trouser pullover dress coat sandal shirt sneaker bag ankle_boot";

/// A data set with standard class numbers and names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KnownClasses {
    /// ImageNet-1k in the order of WordNet ids. TensorFlow's models have a background class before them.
    Imagenet,
    /// CIFAR-10.
    Cifar10,
    /// The 100 fine classes of CIFAR-100.
    Cifar100,
    /// The digits of MNIST.
    Mnist,
    /// Fashion-MNIST.
    FashionMnist,
}

impl KnownClasses {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Imagenet,
        Self::Cifar10,
        Self::Cifar100,
        Self::Mnist,
        Self::FashionMnist,
    ];

    /// Returns its name in settings.
    pub fn word(self) -> &'static str {
        match self {
            Self::Imagenet => "imagenet",
            Self::Cifar10 => "cifar10",
            Self::Cifar100 => "cifar100",
            Self::Mnist => "mnist",
            Self::FashionMnist => "fashion-mnist",
        }
    }

    /// Returns the names of a model's `classes` classes, by class number, or `None` if the data set has another number
    /// of classes.
    pub fn names(self, classes: usize) -> Option<Vec<String>> {
        let words = |text: &str| -> Vec<String> {
            let words = text.split_whitespace();
            words.map(|word| word.replace('_', " ")).collect()
        };
        let mut names = match self {
            Self::Imagenet => IMAGENET.lines().map(str::to_owned).collect(),
            Self::Cifar10 => words(CIFAR10),
            Self::Cifar100 => words(CIFAR100),
            Self::Mnist => words(MNIST),
            Self::FashionMnist => words(FASHION),
        };
        if self == Self::Imagenet && classes == names.len() + 1 {
            names.insert(0, "background".to_owned());
        }
        (names.len() == classes).then_some(names)
    }

    /// Returns the data set that a model was probably trained on, judging by the `[channels, height, width]` of its
    /// pictures and its number of classes. `called` has the file names of model and pictures, which may contradict or
    /// decide.
    pub fn likely(input: [usize; 3], classes: usize, called: &str) -> Option<Self> {
        let called = called.to_lowercase();
        let is_called = |words: &[&str]| words.iter().any(|word| called.contains(word));
        let is_other = is_called(&["svhn", "digit", "mnist", "stl", "imagenet", "scenes"]);
        match (input, classes) {
            ([3, ..], 1000 | 1001) => Some(Self::Imagenet),
            ([3, 32, 32], 10) if !is_other => Some(Self::Cifar10),
            ([3, 32, 32], 100) if !is_other => Some(Self::Cifar100),
            // Many data sets of small grey pictures have ten classes, and only the file names distinguish them.
            ([1, 28, 28], 10) if is_called(&["fashion", "fmnist"]) => Some(Self::FashionMnist),
            ([1, 28, 28], 10) if is_called(&["kmnist", "notmnist", "not-mnist"]) => None,
            ([1, 28, 28], 10) if is_called(&["mnist"]) => Some(Self::Mnist),
            _ => None,
        }
    }

    /// Whether most of a data set's own class names match these. An empty name, or the class number itself, does not
    /// count.
    pub(super) fn agrees_with(names: &[String], own: &[String]) -> bool {
        let given =
            |(class, name): &(usize, &String)| !name.is_empty() && **name != class.to_string();
        let named: Vec<(usize, &String)> = own.iter().enumerate().filter(given).collect();
        let same = |class: usize, name: &str| {
            let known = names.get(class).map(|known| normal(known));
            let known = known.unwrap_or_default();
            // A name may end with a parenthesis that says which of several meanings it has.
            let bare = known.split(" (").next().unwrap_or_default();
            name.split(',')
                .map(normal)
                .any(|one| one == known || one == bare)
        };
        let agreeing = named.iter().filter(|(class, name)| same(*class, name));
        2 * agreeing.count() >= named.len()
    }
}

impl fmt::Display for KnownClasses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Imagenet => "ImageNet",
            Self::Cifar10 => "CIFAR-10",
            Self::Cifar100 => "CIFAR-100",
            Self::Mnist => "MNIST",
            Self::FashionMnist => "Fashion-MNIST",
        })
    }
}

impl FromStr for KnownClasses {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let plain = text.to_lowercase().replace(['-', '_'], "");
        let found = Self::ALL
            .into_iter()
            .find(|known| known.word().replace('-', "") == plain);
        found.ok_or_else(|| unknown("class names", text, &Self::ALL.map(Self::word)))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_class_has_a_name_of_its_own() {
        for (known, classes) in [
            (KnownClasses::Imagenet, 1000),
            (KnownClasses::Imagenet, 1001),
            (KnownClasses::Cifar10, 10),
            (KnownClasses::Cifar100, 100),
            (KnownClasses::Mnist, 10),
            (KnownClasses::FashionMnist, 10),
        ] {
            let names = known.names(classes).unwrap();
            let different: BTreeSet<String> = names.iter().map(|name| normal(name)).collect();
            assert_eq!(different.len(), classes, "{known}");
            assert!(!different.contains(""));
            assert_eq!(known.names(classes + 2), None);
            assert_eq!(known.word().parse::<KnownClasses>().unwrap(), known);
        }
        let names = KnownClasses::Imagenet.names(1000).unwrap();
        for (class, name) in [
            (0, "tench"),
            (1, "goldfish"),
            (817, "sports car"),
            (999, "toilet tissue"),
        ] {
            assert_eq!(names[class], name);
        }
        assert_eq!(
            KnownClasses::Cifar100.names(100).unwrap()[1],
            "aquarium fish"
        );
    }

    #[test]
    fn what_is_likely_depends_on_shape_number_and_names_of_files() {
        for (input, classes, called, expected) in [
            (
                [3, 224, 224],
                1000,
                "net.onnx photos",
                Some(KnownClasses::Imagenet),
            ),
            ([3, 299, 299], 1001, "", Some(KnownClasses::Imagenet)),
            ([1, 224, 224], 1000, "", None),
            (
                [3, 32, 32],
                10,
                "net.onnx x.npy",
                Some(KnownClasses::Cifar10),
            ),
            ([3, 32, 32], 10, "SVHN/net.onnx", None),
            ([3, 32, 32], 100, "", Some(KnownClasses::Cifar100)),
            ([3, 64, 64], 10, "", None),
            ([1, 28, 28], 10, "net.onnx", None),
            (
                [1, 28, 28],
                10,
                "models/net.onnx MNIST/x.npy",
                Some(KnownClasses::Mnist),
            ),
            (
                [1, 28, 28],
                10,
                "Fashion/x.npy",
                Some(KnownClasses::FashionMnist),
            ),
            ([1, 28, 28], 10, "kmnist.onnx", None),
        ] {
            let found = KnownClasses::likely(input, classes, called);
            assert_eq!(found, expected, "{input:?} {classes} {called}");
        }
    }

    #[test]
    fn names_of_the_data_agree_or_contradict() {
        let names = KnownClasses::Cifar10.names(10).unwrap();
        let own =
            |names: &[&str]| -> Vec<String> { names.iter().map(|&name| name.into()).collect() };
        for (given, expected) in [
            (&[][..], true),
            (&["0", "1", "2"], true),
            (&["Airplane", "car, automobile"], true),
            (&["0", "1", "2", "cat"], true),
            (&["circle", "square", "bird"], false),
        ] {
            assert_eq!(
                KnownClasses::agrees_with(&names, &own(given)),
                expected,
                "{given:?}"
            );
        }
    }
}
