use std::fs;
use std::io::Write;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use tempfile::TempDir;

use super::*;
use crate::testing::assets;

/// `numpy.savez_compressed(file, images=x, labels=numpy.array([7, 2], numpy.int32))` with
/// `x = (numpy.arange(24).reshape(2, 3, 2, 2) * 10).astype(numpy.float32) / 255`.
const NUMPY_NPZ: &str = "UEsDBC0AAAAIAAAAIQBKLKKv//////////8KABQAaW1hZ2VzLm5weQEAEADgAAAAAAAAAKcAAAAAAAAAm+wX6hsQychQxlCtnpJanFykbqWgbpNmoq6joJ6WX1RSlJgXn1+UkgoSd0vMKU4FihdnJBakAvkaRjoKxjoKQNJIU0ehVoEMwMUABAsXKNguXLDA9uOHD0Bawe7kCQ+7jx8K7Hp7euyA4nZbt2wBip2wu3vnDlD8g11zE5N9bw+P/fRpYvZA9farV2nZb91iYr9/n509UK/95UtB9nfvxNg/f5ZmDwBQSwMELQAAAAgAAAAhAIzwxev//////////woAFABsYWJlbHMubnB5AQAQAIgAAAAAAAAASwAAAAAAAACb7BfqGxDJyFDGUK2eklqcXKRupaBuk2mirqOgnpZfVFKUmBefX5SSChJ3S8wpTgWKF2ckFqQC+RpGOpo6CrUKFAAudgYGBiYgBgBQSwECLQMtAAAACAAAACEASiyir6cAAADgAAAACgAAAAAAAAAAAAAAgAEAAAAAaW1hZ2VzLm5weVBLAQItAy0AAAAIAAAAIQCM8MXrSwAAAIgAAAAKAAAAAAAAAAAAAACAAeMAAABsYWJlbHMubnB5UEsFBgAAAAACAAIAcAAAAGoBAAAAAA==";

fn pixel(value: u8) -> Picture {
    Picture::new(1, 1, 1, vec![value]).unwrap()
}

/// A folder with these files, each a name and its content.
fn folder(files: &[(&str, Vec<u8>)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    folder
}

/// A `.npy` file.
pub(super) fn npy(descr: &str, shape: &str, values: &[u8]) -> Vec<u8> {
    let mut header =
        format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}").into_bytes();
    header.resize(117, b' ');
    header.push(b'\n');
    [b"\x93NUMPY\x01\0\x76\0", &header[..], values].concat()
}

fn floats(values: &[f32]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect()
}

/// A `.npz` archive of these arrays.
pub(super) fn npz(arrays: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut file = std::io::Cursor::new(Vec::new());
    let mut writer = npyz::npz::NpzWriter::new(&mut file);
    for (name, content) in arrays {
        let zip = writer.zip_writer();
        zip.start_file(*name, Default::default()).unwrap();
        zip.write_all(content).unwrap();
    }
    writer.zip_writer().finish().unwrap();
    drop(writer);
    file.into_inner()
}

fn open(folder: &TempDir, name: &str) -> Result<Dataset> {
    Dataset::open(&folder.path().join(name), &DataOptions::default())
}

fn open_with_labels(folder: &TempDir, name: &str, labels: &str) -> Result<Dataset> {
    let options = DataOptions {
        labels: Some(folder.path().join(labels)),
        ..DataOptions::default()
    };
    Dataset::open(&folder.path().join(name), &options)
}

/// What every sample is called, its label and its values.
fn contents(data: &Dataset) -> Vec<(String, Option<usize>, Vec<u8>)> {
    (0..data.len())
        .map(|index| data.get(index).unwrap())
        .map(|sample| (sample.file, sample.label, sample.picture.bytes().to_vec()))
        .collect()
}

#[track_caller]
fn assert_refused<T>(result: Result<T>, says: &[&str]) {
    match result {
        Ok(_) => panic!("should be refused, saying {says:?}"),
        Err(error) => {
            let error = error.to_string();
            for says in says {
                assert!(error.contains(says), "{error:?} does not say {says:?}");
            }
        }
    }
}

#[test]
fn a_folder_per_class_is_read_in_sorted_order() {
    let data = folder(&[
        ("birds/zebra/b.png", pixel(1).encode_png()),
        ("birds/ant/10.PNG", pixel(2).encode_png()),
        ("birds/ant/9.png", pixel(3).encode_png()),
        ("birds/ant/notes.txt", Vec::new()),
        ("birds/.hidden/a.png", Vec::new()),
        ("birds/Bee/a.png", pixel(4).encode_png()),
        ("birds/moth/.hidden", Vec::new()),
    ]);
    let data = open(&data, "birds").unwrap();
    assert_eq!(data.name(), "birds");
    assert_eq!(data.class_names().unwrap(), ["Bee", "ant", "moth", "zebra"]);
    assert_eq!(data.labels().unwrap(), [0, 1, 1, 3]);
    assert_eq!(
        contents(&data),
        [
            ("Bee/a.png".into(), Some(0), vec![4]),
            ("ant/10.PNG".into(), Some(1), vec![2]),
            ("ant/9.png".into(), Some(1), vec![3]),
            ("zebra/b.png".into(), Some(3), vec![1]),
        ]
    );
    assert_eq!(
        data.notices(),
        [
            "Class moth has no pictures.",
            "Skipped 1 file that is not PNG, JPEG, WebP, BMP, TIFF, GIF or PNM (the first: ant/notes.txt)."
        ]
    );
}

#[test]
fn a_table_gives_order_labels_and_names() {
    let table = "\u{feff}author,label,file,name\n\"Kim, J\",3,b/x.png,\"crane, bird\"\n\
                 Lee,0, a.png ,ant\nLee,3,a.png,\"crane, bird\"\n";
    let data = folder(&[
        ("a.png", pixel(1).encode_png()),
        ("b/x.png", pixel(2).encode_png()),
        ("c.png", pixel(3).encode_png()),
        ("labels.csv", table.into()),
    ]);
    let expected = [
        ("b/x.png".into(), Some(3), vec![2]),
        ("a.png".into(), Some(0), vec![1]),
        ("a.png".into(), Some(3), vec![1]),
    ];
    for found in [open(&data, ""), open_with_labels(&data, "", "labels.csv")] {
        let found = found.unwrap();
        assert_eq!(contents(&found), expected);
        assert_eq!(
            found.class_names().unwrap(),
            ["ant", "1", "2", "crane, bird"]
        );
    }
}

#[test]
fn a_wrong_table_is_refused_with_its_line() {
    for (table, says) in [
        (
            "file,class\na.png,0\n",
            "expected the columns file and label",
        ),
        (
            "file,label\na.png,0\nb.png,1\n",
            "line 3: there is no file \"b.png\"",
        ),
        ("file,label\n../a.png,0\n", "line 2: there is no file"),
        (
            "file,label\na.png,cat\na.png,0\n",
            "line 3: some labels are numbers (0) and others names (\"cat\")",
        ),
        ("file,label\na.png,-1\n", "line 2: \"-1\" is not a label"),
        ("file,label\na.png,1000000\n", "line 2"),
        ("file,label\na.png\n", "line: 2"),
        (
            "file,label,name\na.png,0,cat\na.png,0,dog\n",
            "line 3: label 0 is called \"dog\" here and \"cat\" before",
        ),
        ("file,label\n", "holds no pictures"),
    ] {
        let data = folder(&[
            ("set/a.png", pixel(1).encode_png()),
            ("set/labels.csv", table.into()),
            ("a.png", pixel(1).encode_png()),
        ]);
        assert_refused(open(&data, "set"), &[says]);
    }
}

#[test]
fn labels_may_be_names_of_classes() {
    let names = ["tench, Tinca tinca", "cat", "dog"].map(String::from);
    let open_set = |table: &str| {
        let data = folder(&[
            ("set/a.png", pixel(1).encode_png()),
            ("set/b.png", pixel(2).encode_png()),
            ("set/labels.csv", table.into()),
        ]);
        open(&data, "set")
    };
    let mut named = open_set("file,label\na.png,dog\nb.png,Tench\n").unwrap();
    named.name_classes(&names, None, 3).unwrap();
    assert_eq!(named.labels().unwrap(), [2, 0]);
    assert_eq!(named.class_names().unwrap(), names);
    let cifar = Some(KnownClasses::Cifar10);
    let mut known = open_set("file,label\na.png,dog\nb.png,ship\n").unwrap();
    known.name_classes(&[], cifar, 10).unwrap();
    assert_eq!(known.labels().unwrap(), [5, 8]);
    assert_eq!(known.class_names().unwrap()[3], "cat");
    let mut other = open_set("file,label,name\na.png,0,circle\nb.png,1,square\n").unwrap();
    other.name_classes(&[], cifar, 10).unwrap();
    assert_eq!(other.class_names().unwrap(), ["circle", "square"]);
    let mut numbered = open_set("file,label\na.png,0\nb.png,1\n").unwrap();
    numbered.name_classes(&[], cifar, 10).unwrap();
    assert_eq!(numbered.class_names().unwrap().len(), 10);
    let mut unknown = open_set("file,label\na.png,dog\nb.png,dodo\n").unwrap();
    assert_refused(unknown.name_classes(&names, None, 3), &["dodo"]);
}

#[test]
fn photographs_of_another_size_are_scaled_as_usual() {
    let photograph = Picture::new(3, 300, 400, vec![9; 3 * 300 * 400]).unwrap();
    let data = folder(&[("a.png", photograph.encode_png())]);
    for (input, expected) in [
        ([3, 224, 224], Some((Resize::ShortSide(256), 224))),
        ([3, 299, 299], Some((Resize::ShortSide(342), 299))),
        ([3, 32, 32], Some((Resize::ShortSide(32), 32))),
        ([1, 28, 28], None),
        ([3, 224, 300], None),
        ([3, 300, 400], None),
    ] {
        let mut photographs = open(&data, "").unwrap();
        assert_eq!(photographs.fit_to(input).unwrap(), expected, "{input:?}");
        if expected.is_some() {
            photographs.check_fits(input, 2).unwrap();
            assert_eq!(photographs.fit_to([3, 224, 224]).unwrap(), None);
        }
    }
}

#[test]
fn pictures_without_labels_can_be_opened_but_have_none() {
    let data = folder(&[
        ("b.png", pixel(2).encode_png()),
        ("a.png", pixel(1).encode_png()),
    ]);
    let both = open(&data, "").unwrap();
    assert_eq!(
        contents(&both),
        [
            ("a.png".into(), None, vec![1]),
            ("b.png".into(), None, vec![2])
        ]
    );
    assert_refused(both.labels(), &["has no labels", "labels.csv"]);
    let one = open(&data, "b.png").unwrap();
    assert_eq!(contents(&one), [("b.png".into(), None, vec![2])]);
    assert_refused(
        open_with_labels(&data, "b.png", "y.npy"),
        &["single picture"],
    );
    assert_refused(open(&data, "c.png"), &["c.png"]);
}

#[test]
fn folders_that_could_mean_two_things_are_refused() {
    let picture = || pixel(0).encode_png();
    let mixed = folder(&[("a.png", picture()), ("cats/b.png", picture())]);
    assert_refused(
        open(&mixed, ""),
        &["both pictures (a.png) and folders (cats)"],
    );
    let nested = folder(&[("cats/tabby/b.png", picture())]);
    assert_refused(open(&nested, ""), &["tabby", "holds pictures, not folders"]);
    assert_refused(open(&folder(&[]), ""), &["holds no pictures"]);
}

#[test]
fn a_broken_picture_in_the_middle_is_named_when_it_is_reached() {
    let data = folder(&[
        ("cats/a.png", pixel(1).encode_png()),
        ("cats/b.png", pixel(1).encode_png()[..40].to_vec()),
        ("cats/c.png", pixel(3).encode_png()),
    ]);
    let data = open(&data, "").unwrap();
    assert!(data.get(0).is_ok() && data.get(2).is_ok());
    assert_refused(data.get(1), &["cats/b.png", "cannot be read"]);
    assert_refused(data.get(3), &["3 pictures", "index 3"]);
}

#[test]
fn arrays_are_read_in_every_layout() {
    let values: Vec<u8> = (0..12).collect();
    let planar = [0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11];
    for (shape, channels, expected) in [
        ("(1, 3, 4)", 1, &values[..]),
        ("(1, 4, 3, 1)", 1, &values),
        ("(1, 1, 3, 4)", 1, &values),
        ("(1, 2, 2, 3)", 3, &values),
        ("(1, 3, 2, 2)", 3, &planar),
    ] {
        let data = folder(&[("x.npy", npy("|u1", shape, &values))]);
        let sample = open(&data, "x.npy").unwrap().get(0).unwrap();
        assert_eq!(sample.picture.channels(), channels, "{shape}");
        assert_eq!(sample.picture.bytes(), expected, "{shape}");
        assert_eq!((sample.file.as_str(), sample.label), ("x.npy[0]", None));
    }
}

#[test]
fn labels_may_have_any_integer_type() {
    for (descr, shape, values) in [
        ("|u1", "(2,)", vec![7, 2]),
        ("|i1", "(2, 1)", vec![7, 2]),
        ("<u2", "(2,)", vec![7, 0, 2, 0]),
        (">i2", "(2,)", vec![0, 7, 0, 2]),
        ("<i4", "(2,)", vec![7, 0, 0, 0, 2, 0, 0, 0]),
        (">u8", "(2,)", [7_u64, 2].map(u64::to_be_bytes).concat()),
        ("<i8", "(2,)", [7_u64, 2].map(u64::to_le_bytes).concat()),
    ] {
        let data = folder(&[
            ("x.npy", npy("|u1", "(2, 1, 1)", &[1, 2])),
            ("y.npy", npy(descr, shape, &values)),
        ]);
        let found = open_with_labels(&data, "x.npy", "y.npy").unwrap();
        assert_eq!(found.labels().unwrap(), [7, 2], "{descr}");
    }
}

#[test]
fn wrong_labels_are_refused_with_their_row() {
    for (labels, says) in [
        (npy("<i2", "(2,)", &[7, 0, 0xFF, 0xFF]), "y.npy[1] is -1"),
        (
            npy("<i4", "(2,)", &[0, 0, 0, 0, 64, 66, 15, 0]),
            "y.npy[1] is 1000000",
        ),
        (npy("<f4", "(2,)", &floats(&[1.0, 2.0])), "holds floats"),
        (npy("|u1", "(1, 2)", &[7, 2]), "one label per picture"),
        (
            npy("|u1", "(3,)", &[7, 2, 1]),
            "3 labels, but x.npy has 2 pictures",
        ),
    ] {
        let data = folder(&[
            ("x.npy", npy("|u1", "(2, 1, 1)", &[1, 2])),
            ("y.npy", labels),
        ]);
        assert_refused(open_with_labels(&data, "x.npy", "y.npy"), &[says]);
    }
}

#[test]
fn floats_are_rounded_to_the_lattice_and_out_of_range_refused() {
    let array = |values: [f32; 4]| folder(&[("x.npy", npy("<f4", "(2, 1, 2)", &floats(&values)))]);
    let on_lattice = open(&array([0.0, 1.0, 17.0 / 255.0, 254.0 / 255.0]), "x.npy").unwrap();
    assert!(on_lattice.notices().is_empty());

    let between = array([0.0, 1.0, 17.25 / 255.0, 0.5]);
    let between = open(&between, "x.npy").unwrap();
    assert_eq!(between.get(1).unwrap().picture.bytes(), [17, 128]);
    assert_eq!(
        between.notices(),
        [
            "1 picture of x.npy has values between the 8-bit levels (up to 0.500 of a level off); \
          they were rounded to the nearest level."
        ]
    );

    for wrong in [-0.01, 1.01, 255.0, f32::NAN, f32::INFINITY] {
        let data = array([0.0, 1.0, wrong, 0.0]);
        assert_refused(open(&data, "x.npy"), &["x.npy[1]", "Are they 0 to 255?"]);
    }
    let double = npy(">f8", "(1, 1, 1)", &(0.2_f64).to_be_bytes());
    let double = open(&folder(&[("x.npy", double)]), "x.npy");
    assert!(double.unwrap().notices().is_empty());
}

#[test]
fn wrong_arrays_are_refused_by_name_before_memory_is_taken() {
    let text = |text: &str| {
        let mut file = b"\x93NUMPY\x01\0".to_vec();
        file.extend((text.len() as u16).to_le_bytes());
        file.extend(text.as_bytes());
        file
    };
    let fortran = "{'descr': '|u1', 'fortran_order': True, 'shape': (1, 2, 2), }";
    let deep = format!("{{'descr': {}", "[".repeat(60_000));
    for (content, says) in [
        (b"PK".to_vec(), "header cannot be read"),
        (b"GIF89a, or something else".to_vec(), "not a NumPy array"),
        (b"\x93NUMPY\x09\0\x02\0{}".to_vec(), "version 9"),
        (
            b"\x93NUMPY\x02\0\xFF\xFF\xFF\xFF{}".to_vec(),
            "longer than any array needs",
        ),
        (text("{}"), "no fortran_order"),
        (text(&deep), "no fortran_order"),
        (text(fortran), "ascontiguousarray"),
        (npy("|u1", "2", &[1]), "no shape"),
        (npy("|u1", "(1, -2, 2)", &[1]), "no shape"),
        (npy("|O", "(1, 1, 1)", &[1]), "values of type |O"),
        (npy("<i8", "(1, 1, 1)", &[0; 8]), "save pictures as uint8"),
        (npy("|u1", "(1, 4)", &[0; 4]), "expected pictures [N,H,W]"),
        (
            npy("|u1", "(1, 2, 2, 2)", &[0; 8]),
            "expected pictures [N,H,W]",
        ),
        (
            npy("|u1", "(1, 3, 1, 3)", &[0; 9]),
            "may be [N,C,H,W] or [N,H,W,C]",
        ),
        (npy("|u1", "(0, 3, 4)", &[]), "holds no pictures"),
        (npy("|u1", "(2, 3, 4)", &[0; 23]), "truncated"),
        (npy("|u1", "(99999999, 99999, 99999)", &[0; 9]), "truncated"),
        (
            npy("<f8", "(9999999999, 9999999999, 3)", &[0; 9]),
            "claims the shape",
        ),
    ] {
        let data = folder(&[("x.npy", content)]);
        assert_refused(open(&data, "x.npy"), &["x.npy", says]);
    }
}

#[test]
fn an_archive_by_numpy_is_read() {
    let data = folder(&[("set.npz", BASE64_STANDARD.decode(NUMPY_NPZ).unwrap())]);
    let data = open(&data, "set.npz").unwrap();
    let first = vec![0, 40, 80, 10, 50, 90, 20, 60, 100, 30, 70, 110];
    let second = vec![120, 160, 200, 130, 170, 210, 140, 180, 220, 150, 190, 230];
    assert_eq!(
        contents(&data),
        [
            ("set.npz[0]".into(), Some(7), first),
            ("set.npz[1]".into(), Some(2), second)
        ]
    );
    assert!(data.notices().is_empty());
}

#[test]
fn wrong_archives_are_refused_by_name() {
    let x = || npy("|u1", "(2, 1, 1)", &[1, 2]);
    for (content, says) in [
        (b"not an archive".to_vec(), "set.npz"),
        (npz(&[("z.npy", x()), ("a.npy", x())]), "found a, z"),
        (
            npz(&[("x.npy", npy("|u1", "(9999, 99, 99)", &[0]))]),
            "truncated",
        ),
        (npz(&[("x.npy", b"no".to_vec())]), "set.npz[\"x\"]"),
        (
            npz(&[("x.npy", x()), ("y.npy", npy("|u1", "(1,)", &[1]))]),
            "1 label, but set.npz has 2 pictures",
        ),
    ] {
        let data = folder(&[("set.npz", content)]);
        assert_refused(open(&data, "set.npz"), &[says]);
    }
}

#[test]
fn an_archive_that_unpacks_to_too_much_is_refused_unread() {
    let mut archive = npz(&[("x.npy", npy("|u1", "(3000, 1000, 1000)", &[0; 100]))]);
    // The directory at the end of an archive says how large each file will be.
    let entry = archive
        .windows(4)
        .position(|at| at == b"PK\x01\x02")
        .unwrap();
    archive[entry + 24..][..4].copy_from_slice(&3_000_000_128_u32.to_le_bytes());
    let data = folder(&[("bomb.npz", archive)]);
    assert_refused(
        open(&data, "bomb.npz"),
        &["3000000128 bytes", "save it as .npy"],
    );
}

#[test]
fn damaged_archives_and_arrays_never_panic() {
    let archive = BASE64_STANDARD.decode(NUMPY_NPZ).unwrap();
    let array = npy("<f4", "(1, 1, 2)", &floats(&[0.0, 1.0]));
    for (name, whole) in [("set.npz", archive), ("x.npy", array)] {
        let data = folder(&[]);
        for at in 0..whole.len() {
            for flip in [0x01, 0x80, 0xFF] {
                let mut damaged = whole.clone();
                damaged[at] ^= flip;
                fs::write(data.path().join(name), damaged).unwrap();
                if let Ok(data) = open(&data, name) {
                    assert!(data.get(0).is_ok());
                }
            }
        }
    }
}

#[test]
fn skip_and_limit_take_a_window_of_every_source() {
    let x = || npy("|u1", "(4, 1, 1)", &[10, 11, 12, 13]);
    let y = || npy("|u1", "(4,)", &[0, 1, 2, 3]);
    let mut files = vec![
        ("x.npy", x()),
        ("y.npy", y()),
        ("set.npz", npz(&[("x.npy", x()), ("y.npy", y())])),
    ];
    for (file, value) in [
        ("tree/a/0.png", 10),
        ("tree/b/0.png", 11),
        ("tree/c/0.png", 12),
        ("tree/d/0.png", 13),
    ] {
        files.push((file, pixel(value).encode_png()));
    }
    let data = folder(&files);
    for (name, labels, file) in [
        ("x.npy", Some("y.npy"), "x.npy[1]"),
        ("set.npz", None, "set.npz[1]"),
        ("tree", None, "b/0.png"),
    ] {
        let window = |skip, limit| {
            let options = DataOptions {
                labels: labels.map(|labels| data.path().join(labels)),
                skip,
                limit,
                ..DataOptions::default()
            };
            Dataset::open(&data.path().join(name), &options)
        };
        let two = window(1, Some(2)).unwrap();
        assert_eq!(two.labels().unwrap(), [1, 2], "{name}");
        let first = two.get(0).unwrap();
        assert_eq!((first.index, first.file.as_str()), (0, file));
        assert_eq!(first.picture.bytes(), [11]);
        assert_eq!(two.get(1).unwrap().picture.bytes(), [12]);
        assert!(two.get(2).is_err());

        assert_eq!(window(3, Some(usize::MAX)).unwrap().len(), 1);
        assert_refused(window(4, None), &["4 pictures", "leave none"]);
        assert_refused(window(0, Some(0)), &["4 pictures", "leave none"]);
    }
}

#[test]
fn pictures_in_memory_are_a_data_set() {
    let names = || Some(vec!["cat".to_owned(), "dog".to_owned()]);
    let picture = Picture::new(1, 2, 2, vec![255, 0, 1, 2]).unwrap();
    let pictures = vec![(picture, 1), (pixel(5), 0)];
    let data = Dataset::from_pictures("demo", pictures, names()).unwrap();
    let first = data.get(0).unwrap();
    assert_eq!((first.file.as_str(), first.label), ("demo[0]", Some(1)));
    // Python: sha256(struct.pack("<III", 1, 2, 2) + bytes([255, 0, 1, 2])).hexdigest()[:16]
    assert_eq!(first.id, "60963609db572bdf");
    assert_eq!(data.class_names().unwrap(), ["cat", "dog"]);

    let beyond = Dataset::from_pictures("demo", vec![(pixel(5), 2)], names());
    assert_refused(beyond, &["demo[0] has label 2", "only 2 classes"]);
    assert_refused(
        Dataset::from_pictures("demo", Vec::new(), None),
        &["no pictures"],
    );
}

#[test]
fn a_transform_that_fails_names_the_picture() {
    let data = folder(&[("cats/a.png", pixel(1).encode_png())]);
    let options = DataOptions {
        transform: Transform {
            crop: Some(Crop::square(2)),
            ..Transform::default()
        },
        ..DataOptions::default()
    };
    let data = Dataset::open(data.path(), &options).unwrap();
    assert_refused(
        data.get(0),
        &["cats/a.png: cannot crop 2x2", "resize it first"],
    );
}

#[test]
fn the_digest_tells_names_labels_and_bytes_apart() {
    let digest = |files: &[(&'static str, u8)]| {
        let encode = |&(file, value): &(_, u8)| (file, pixel(value).encode_png());
        let data = folder(&files.iter().map(encode).collect::<Vec<_>>());
        open(&data, "").unwrap().digest().unwrap()
    };
    let one = digest(&[("a/0.png", 1), ("b/0.png", 2)]);
    assert_eq!(one, digest(&[("b/0.png", 2), ("a/0.png", 1)]));
    for other in [
        digest(&[("a/0.png", 1), ("b/0.png", 3)]),
        digest(&[("a/1.png", 1), ("b/0.png", 2)]),
        digest(&[("a/0.png", 1), ("a/1.png", 2)]),
        digest(&[("a/0.png", 1), ("b/0.png", 2), ("b/1.png", 2)]),
    ] {
        assert_ne!(one, other);
    }
}

/// Names, labels and ids computed with NumPy and hashlib.
#[test]
fn a_picture_that_changes_after_the_digest_is_refused() {
    let cifar = |level: u8| [&[0][..], &[level; 3072], &[1], &[7; 3072]].concat();
    for (file, name, old, new, changed) in [
        (
            "cat.png",
            "",
            pixel(1).encode_png(),
            pixel(2).encode_png(),
            "cat.png",
        ),
        (
            "x.npy",
            "x.npy",
            npy("|u1", "(2, 1, 1)", &[3, 4]),
            npy("|u1", "(2, 1, 1)", &[9, 4]),
            "x.npy[0]",
        ),
        (
            "test_batch.bin",
            "test_batch.bin",
            cifar(1),
            cifar(2),
            "test_batch.bin[0]",
        ),
    ] {
        let folder = folder(&[(file, old.clone()), ("dog.png", pixel(8).encode_png())]);
        let data = open(&folder, name).unwrap();
        let write = |content: &[u8]| fs::write(folder.path().join(file), content).unwrap();
        write(&new);
        // Nothing is promised before.
        data.get(0).unwrap();
        write(&old);
        let digest = data.digest().unwrap();
        let sample = data.get(0).unwrap();
        write(&new);
        let says = format!("{changed} has changed since the run began");
        assert_refused(data.get(0), &[&says]);
        assert_refused(data.original(0), &[&says]);
        assert_refused(data.digest(), &[&says]);
        data.get(1).unwrap();
        write(&old);
        assert_eq!(data.get(0).unwrap(), sample);
        assert_eq!(data.digest().unwrap(), digest);
    }
}

#[test]
fn real_arrays_and_folders_are_read_as_numpy_and_pillow_read_them() {
    let assets = assets();
    let options = |labels: Option<&str>, limit| DataOptions {
        labels: labels.map(|labels| assets.join(labels)),
        limit,
        ..DataOptions::default()
    };
    let cifar = assets.join("cifar10/test_0-499_x_u8_NHWC.npy");
    let labels = Some("cifar10/test_0-499_y.npy");
    let data = Dataset::open(&cifar, &options(labels, None)).unwrap();
    assert_eq!(data.len(), 500);
    assert_eq!(data.labels().unwrap()[..8], [3, 8, 8, 0, 6, 6, 1, 6]);
    assert_eq!(data.get(0).unwrap().id, "c6e848254b13b2b0");
    assert_eq!(data.get(499).unwrap().id, "1787e41ef463747c");
    let data = Dataset::open(&cifar, &options(labels, Some(3))).unwrap();
    assert_eq!(
        data.digest().unwrap(),
        "94829b6babdd150203b43ba682667de6b385163d18a041aeb0aab0ec098e9756"
    );

    let mnist = assets.join("mnist/test_2500_x_u8.npy");
    let data = Dataset::open(&mnist, &options(None, None)).unwrap();
    assert_eq!(data.get(2499).unwrap().id, "7d7dc0143523b7fa");

    let data = Dataset::open(&assets.join("imagenet/images"), &options(None, None)).unwrap();
    let last = data.get(99).unwrap();
    assert_eq!(
        (last.file.as_str(), last.label, last.id.as_str()),
        ("56e9d5f63cfc507e.png", Some(440), "96a7ff59395b8dce")
    );
    assert_eq!(data.class_names().unwrap()[440], "beer bottle");
}

#[test]
fn scenes_are_drawn_where_a_path_names_them() {
    let named = |name: &str, options: &DataOptions| Dataset::open(Path::new(name), options);
    let all = named("scenes:count=30,side=16,seed=4", &DataOptions::default()).unwrap();
    assert_eq!((all.name(), all.len()), ("scenes", 30));
    assert_eq!(all.class_names().unwrap(), scenes::CLASSES);
    let scene = scenes::Scenes::new(16, 4).unwrap().scene(17);
    let sample = all.get(17).unwrap();
    assert_eq!(sample.file, "scenes[17]");
    assert_eq!(sample.label, Some(scene.spec.class()));
    assert_eq!(all.labels().unwrap()[17], scene.spec.class());
    assert_eq!(sample.picture, scene.picture);
    assert_eq!(sample.id, id(&scene.picture));

    let window = DataOptions {
        skip: 16,
        limit: Some(3),
        ..DataOptions::default()
    };
    let part = named("scenes:count=30,side=16,seed=4", &window).unwrap();
    assert_eq!(contents(&part), contents(&all)[16..19]);
    let other = named("scenes:count=30,side=16,seed=5", &window).unwrap();
    assert_ne!(part.digest().unwrap(), other.digest().unwrap());

    let labelled = DataOptions {
        labels: Some("y.npy".into()),
        ..DataOptions::default()
    };
    assert_refused(named("scenes:", &labelled), &["remove y.npy"]);
    assert_refused(named("scenes:side=9", &window), &["scenes:side=9", "16"]);
}
