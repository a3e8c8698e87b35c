//! Sets of pictures whose folders say what is in them.

use std::collections::BTreeMap;
use std::path::Path;

use super::subset::Subset;
use super::{ilsvrc, objectnet};
use crate::data::named::{Meant, meant};
use crate::data::{DataOptions, Dataset, Transform};
use crate::{Error, Result, counted, legible};

/// The classes of a model, as far as they are known.
#[derive(Clone, Copy)]
pub struct Classes<'a> {
    /// What they are called; empty if nobody said.
    pub names: &'a [String],
    /// How many.
    pub count: usize,
}

/// Labelled pictures, each with the class of the model that is in it.
#[derive(Debug)]
pub struct PictureSet {
    data: Dataset,
    labels: Vec<usize>,
    /// Of a set with classes of its own: what each is called, and the classes of the model that it means.
    groups: Option<Vec<(String, Vec<usize>)>>,
    /// What the folder of each class is called.
    folders: BTreeMap<usize, String>,
    /// The published list that its folders are, if they are one.
    known: Option<&'static str>,
    notices: Vec<String>,
}

impl PictureSet {
    /// Opens labelled pictures. Their folders are called by WordNet ids, names or numbers of classes, as in ImageNet-A,
    /// ImageNet-R, ImageNet-V2 and ImageNet-Sketch; or they are ObjectNet with its `mappings` beside its `images`; or
    /// ImageNet's own validation pictures in one folder, with a file beside them that gives their WordNet ids. Everything else
    /// that [`Dataset::open`] takes must have labels that are numbers of the model's classes.
    ///
    /// # Errors
    /// If it cannot be told which classes folders mean: their order is never taken for that of the classes.
    pub fn open(
        path: &Path,
        labels: Option<&Path>,
        transform: &Transform,
        classes: Classes<'_>,
    ) -> Result<Self> {
        let options = DataOptions {
            labels: labels.map(Path::to_owned),
            transform: transform.clone(),
            ..Default::default()
        };
        if let Some(own) = objectnet::find(path) {
            return Self::of_objectnet(&own, &options, classes);
        }
        let mut data = Dataset::open(path, &options)?;
        let mut notices = data.notices().to_vec();
        let (mut known, mut called) = (None, BTreeMap::new());
        if let Some(folders) = data.folders() {
            known = Subset::known_with(folders);
            let Meant {
                classes: meant,
                notice,
            } = meant(folders, classes.names, classes.count, "folders")?;
            notices.extend(notice);
            called = meant.iter().copied().zip(folders.iter().cloned()).collect();
            let labels = data.labels()?.iter().map(|&at| meant[at]).collect();
            data.relabel(Some(labels));
        } else if ilsvrc::is_flat(&data)? {
            let (labels, notice) = ilsvrc::labels(path, &data, classes.count)?;
            data.relabel(Some(labels));
            // The one that there is says that there are no labels.
            notices = vec![notice];
        }
        let labels = data.labels()?.to_vec();
        if let Some(at) = labels.iter().position(|&label| label >= classes.count) {
            return Err(Error::invalid(format!(
                "{} has label {}, and the model has {} classes, 0 to {}",
                legible::name(&data.file(at)?),
                labels[at],
                classes.count,
                classes.count.saturating_sub(1)
            )));
        }
        Ok(Self {
            data,
            labels,
            groups: None,
            folders: called,
            known,
            notices,
        })
    }

    fn of_objectnet(
        own: &objectnet::Layout,
        options: &DataOptions,
        classes: Classes<'_>,
    ) -> Result<Self> {
        let mut data = Dataset::open(&own.images, options)?;
        let folders = data.folders().map(<[String]>::to_vec).ok_or_else(|| {
            Error::invalid(format!(
                "{}: ObjectNet's pictures lie in one folder for each of its classes",
                legible::name(&own.images.display().to_string())
            ))
        })?;
        let groups = own.groups(&folders, classes.count)?;
        let labels = data.labels()?.to_vec();
        let mut notices = data.notices().to_vec();
        notices.push(format!(
            "ObjectNet: {} of its {} classes are ImageNet's; each counts by the largest logit of the classes that it means. Its \
             pictures have a red border of a pixel, which a crop from the centre removes.",
            groups.iter().filter(|(_, members)| !members.is_empty()).count(),
            groups.len()
        ));
        data.relabel(None);
        Ok(Self {
            data,
            labels,
            groups: Some(groups),
            folders: BTreeMap::new(),
            known: None,
            notices,
        })
    }

    /// The pictures. Their labels are the model's classes, if each picture means just one.
    pub fn data(&self) -> &Dataset {
        &self.data
    }

    /// What a person should know, in whole sentences.
    pub fn notices(&self) -> &[String] {
        &self.notices
    }

    /// The classes in play if nobody names others, with what to call them: those of a published list if the folders are just
    /// those, those of ObjectNet, else all of the model.
    pub fn subset(&self, classes: Classes<'_>) -> Result<(Subset, Vec<String>)> {
        if let Some(groups) = &self.groups {
            let known = groups.iter().filter(|(_, members)| !members.is_empty());
            let (names, members) = known.cloned().unzip();
            let subset = Subset::of_groups("objectnet", members, classes.count)?;
            return Ok((subset, names));
        }
        let subset = match self.known {
            Some(name) => Subset::parse(name, classes.names, classes.count)?,
            None => Subset::all(classes.count),
        };
        let names = self.names(&subset, classes);
        Ok((subset, names))
    }

    /// What to call each class in play: as the model's classes are called, or else as their folders are.
    pub fn names(&self, subset: &Subset, classes: Classes<'_>) -> Vec<String> {
        let mut names = subset.names(classes.names);
        if classes.names.is_empty() {
            for (name, members) in names.iter_mut().zip(subset.members()) {
                if let ([class], Some(folder)) = (&members[..], self.folders.get(&members[0])) {
                    // A number says less than "class 7".
                    if folder.parse() != Ok(*class) {
                        name.clone_from(folder);
                    }
                }
            }
        }
        names
    }

    /// The classes of the model that are in these pictures.
    pub fn present(&self, classes: Classes<'_>) -> Result<Subset> {
        let mut there = self.labels.clone();
        there.sort_unstable();
        there.dedup();
        Subset::of("present", there, classes.count)
    }

    /// Refuses pictures that are no labelled pictures: ImageNet-O's folders are called by classes that its pictures do *not*
    /// show.
    pub fn refuse_unknown(&self) -> Result<()> {
        match self.known {
            Some("imagenet-o") => Err(Error::invalid(format!(
                "{} has the folders of ImageNet-O, whose pictures show none of ImageNet's classes, so there is no accuracy on them: \
                 give them as pictures of unknown classes; if they are ordinary pictures of these 200 classes, give them as clean \
                 ones",
                self.data.name()
            ))),
            _ => Ok(()),
        }
    }

    /// For each picture the place of its class among those in play; `None` if it is not in play.
    ///
    /// # Errors
    /// If no picture is in play, or a set with classes of its own is asked about others.
    pub fn places(&self, subset: &Subset) -> Result<Vec<Option<usize>>> {
        let places: Vec<Option<usize>> = match &self.groups {
            None => (self.labels.iter())
                .map(|&label| subset.place_of(label))
                .collect(),
            Some(groups) => {
                let of_group = groups.iter().map(|(_, members)| {
                    let place = subset.place_of(*members.first()?)?;
                    Some(place).filter(|&place| subset.members()[place] == *members)
                });
                let of_group: Vec<Option<usize>> = of_group.collect();
                self.labels.iter().map(|&label| of_group[label]).collect()
            }
        };
        if places.iter().all(Option::is_none) {
            return Err(Error::invalid(format!(
                "{} holds no picture of the {} classes of {}",
                self.data.name(),
                subset.len(),
                legible::name(subset.name())
            )));
        }
        Ok(places)
    }

    /// How many pictures are not in play, in a sentence.
    pub fn left_out(&self, places: &[Option<usize>], subset: &Subset) -> Option<String> {
        let out = places.iter().filter(|place| place.is_none()).count();
        (out > 0).then(|| {
            let are = if out == 1 { "is" } else { "are" };
            format!(
                "{} of {} {are} of none of the {} classes of {}, and left out.",
                counted(out, "picture", "pictures"),
                self.data.name(),
                subset.len(),
                legible::name(subset.name())
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::image::Picture;

    const NO_NAMES: Classes<'_> = Classes {
        names: &[],
        count: 1000,
    };

    /// A folder of pictures, one in each of these files.
    fn tree(files: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (at, file) in files.iter().enumerate() {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            let picture = Picture::new(3, 1, 1, vec![at as u8; 3]).unwrap();
            fs::write(path, picture.encode_png()).unwrap();
        }
        folder
    }

    fn open(folder: &Path, classes: Classes<'_>) -> Result<PictureSet> {
        PictureSet::open(folder, None, &Transform::default(), classes)
    }

    #[test]
    fn folders_mean_what_they_are_called_in_any_order_and_number() {
        let names: Vec<String> = ["cat", "dog", "sea lion, seal"].map(str::to_owned).into();
        let of_three = Classes {
            names: &names,
            count: 3,
        };
        for (files, classes, expected) in [
            // ImageNet's: ids, with classes missing.
            (
                &["n02123045/a.png", "n01443537/b.png"][..],
                NO_NAMES,
                &[1, 281][..],
            ),
            // ImageNet-V2's: numbers, whose order as text is another.
            (&["10/a.png", "9/b.png", "2/c.png"], NO_NAMES, &[10, 2, 9]),
            (&["sea_lion/a.png", "cat/b.png"], of_three, &[0, 2]),
            (
                &["seal/a.png", "dog/b.png", "cat/c.png"],
                of_three,
                &[0, 1, 2],
            ),
        ] {
            let folder = tree(files);
            let set = open(folder.path(), classes).unwrap();
            assert_eq!(set.labels, expected, "{files:?}");
            let names = set.names(&Subset::all(classes.count), classes);
            let first = match classes.names.is_empty() {
                true if files.len() == 2 => "n01443537".to_owned(),
                true => "class 1".to_owned(),
                false => "dog".to_owned(),
            };
            assert_eq!(names[1], first);
        }
    }

    #[test]
    fn positions_are_never_taken_for_classes() {
        let names: Vec<String> = ["cat", "dog"].map(str::to_owned).into();
        for (files, names, says) in [
            (
                &["a/a.png", "b/b.png"][..],
                &names[..],
                "their order is not assumed",
            ),
            (&["a/a.png", "b/b.png"], &[], "their order is not assumed"),
            (&["cat/a.png", "ox/b.png"], &names, "ox"),
            (&["5/a.png"], &names, "has the name of one of"),
        ] {
            let folder = tree(files);
            let classes = Classes { names, count: 2 };
            let error = open(folder.path(), classes).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
        let extra = tree(&["n01443537/a.png", "n99999999/b.png"]);
        let error = open(extra.path(), NO_NAMES).unwrap_err().to_string();
        assert!(error.contains("n99999999"), "{error}");
        let unlabelled = tree(&["a.png"]);
        assert!(open(unlabelled.path(), NO_NAMES).is_err());
    }

    #[test]
    fn pictures_out_of_play_are_counted_and_a_set_without_others_is_refused() {
        let folder = tree(&["n01440764/a.png", "n01443537/b.png", "n01443537/c.png"]);
        let set = open(folder.path(), NO_NAMES).unwrap();
        let subset = Subset::of("mine", vec![0, 2], 1000).unwrap();
        let places = set.places(&subset).unwrap();
        assert_eq!(places, [Some(0), None, None]);
        let told = set.left_out(&places, &subset).unwrap();
        assert!(told.starts_with("2 pictures of"), "{told}");
        let other = Subset::of("other", vec![7, 8], 1000).unwrap();
        assert!(set.places(&other).is_err());
        assert_eq!(set.present(NO_NAMES).unwrap().len(), 2);
    }

    #[test]
    fn published_sets_are_known_by_their_folders() {
        let ids = |list: &str| -> Vec<String> {
            let subset = Subset::parse(list, &[], 1000).unwrap();
            let all = include_str!("../data/imagenet_wordnet_ids.txt");
            let all: Vec<&str> = all.lines().collect();
            let of = |members: &Vec<usize>| format!("{}/a.png", all[members[0]]);
            subset.members().iter().map(of).collect()
        };
        for (list, is_labelled) in [
            ("imagenet-a", true),
            ("imagenet-r", true),
            ("imagenet-o", false),
        ] {
            let files = ids(list);
            let folder = tree(&files.iter().map(String::as_str).collect::<Vec<_>>());
            let set = open(folder.path(), NO_NAMES).unwrap();
            assert_eq!(set.subset(NO_NAMES).unwrap().0.name(), list);
            assert_eq!(set.refuse_unknown().is_ok(), is_labelled);
        }
        let part = tree(&["n01443537/a.png", "n01440764/b.png"]);
        let set = open(part.path(), NO_NAMES).unwrap();
        assert_eq!(set.subset(NO_NAMES).unwrap().0.name(), "all");
    }

    #[test]
    fn objectnet_is_scored_by_groups() {
        let folder = tree(&[
            "images/alarm_clock/a.png",
            "images/air_freshener/b.png",
            "images/banana/c.png",
        ]);
        let mappings = folder.path().join("mappings");
        fs::create_dir(&mappings).unwrap();
        for (file, text) in [
            (
                "folder_to_objectnet_label.json",
                r#"{"alarm_clock": "Alarm clock", "banana": "Banana", "air_freshener": "Air freshener"}"#,
            ),
            (
                "objectnet_to_imagenet_1k.json",
                r#"{"Alarm clock": "analog clock; digital clock", "Banana": "banana"}"#,
            ),
            (
                "imagenet_to_label_2012_v2",
                "banana\nanalog clock\ndigital clock\n",
            ),
            (
                "pytorch_to_imagenet_2012_id.json",
                r#"{"954": 0, "409": 1, "530": 2}"#,
            ),
        ] {
            fs::write(mappings.join(file), text).unwrap();
        }
        for path in [folder.path().to_owned(), folder.path().join("images")] {
            let set = open(&path, NO_NAMES).unwrap();
            let (subset, names) = set.subset(NO_NAMES).unwrap();
            assert_eq!(subset.members(), [vec![409, 530], vec![954]]);
            assert_eq!(names, ["Alarm clock", "Banana"]);
            let places = set.places(&subset).unwrap();
            assert_eq!(places, [None, Some(0), Some(1)]);
            assert!(
                set.places(&Subset::parse("imagenet-a", &[], 1000).unwrap())
                    .is_ok()
            );
        }
        fs::write(mappings.join("pytorch_to_imagenet_2012_id.json"), "{}").unwrap();
        let error = open(folder.path(), NO_NAMES).unwrap_err().to_string();
        assert!(error.contains("analog clock"), "{error}");
    }

    #[test]
    fn flat_validation_pictures_are_mapped_or_refused() {
        let flat = tree(&[
            "val/ILSVRC2012_val_00000001.JPEG",
            "val/ILSVRC2012_val_00000002.JPEG",
        ]);
        let path = flat.path().join("val");
        let error = open(&path, NO_NAMES).unwrap_err().to_string();
        assert!(error.contains("LOC_val_solution.csv"), "{error}");
        let solution = "ImageId,PredictionString\nILSVRC2012_val_00000002,n01443537 1 2 3 4 \n\
                        ILSVRC2012_val_00000001,n02123045 1 2 3 4 n02123045 5 6 7 8 \n";
        fs::write(flat.path().join("LOC_val_solution.csv"), solution).unwrap();
        let set = open(&path, NO_NAMES).unwrap();
        assert_eq!(set.labels, [281, 1]);
        assert!(
            set.notices()
                .iter()
                .any(|notice| notice.contains("LOC_val_solution.csv"))
        );
        let short = "ImageId,PredictionString\nILSVRC2012_val_00000002,n01443537 1 2 3 4 \n";
        fs::write(flat.path().join("LOC_val_solution.csv"), short).unwrap();
        let error = open(&path, NO_NAMES).unwrap_err().to_string();
        assert!(error.contains("ILSVRC2012_val_00000001"), "{error}");
        fs::remove_file(flat.path().join("LOC_val_solution.csv")).unwrap();
        fs::write(
            flat.path()
                .join("imagenet_2012_validation_synset_labels.txt"),
            "n02123045\nn01443537\n",
        )
        .unwrap();
        assert_eq!(open(&path, NO_NAMES).unwrap().labels, [281, 1]);
        let of_ten = Classes {
            names: &[],
            count: 10,
        };
        assert!(open(&path, of_ten).is_err());
    }
}
