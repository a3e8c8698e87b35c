//! Folders, archives and arrays as people have them.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::tests::{npy, npz};
use super::*;

/// A picture of one pixel.
fn png(value: u8) -> Vec<u8> {
    Picture::new(1, 1, 1, vec![value]).unwrap().encode_png()
}

/// A folder `data` with these files.
fn folder(files: &[(&str, Vec<u8>)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        let path = folder.path().join("data").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    folder
}

fn open(path: &Path) -> Result<Dataset> {
    Dataset::open(path, &DataOptions::default())
}

/// File, label and the value of the first pixel of every sample.
fn samples(data: &Dataset) -> Vec<(String, Option<usize>, u8)> {
    let sample = |index| {
        let sample = data.get(index).unwrap();
        (sample.file, sample.label, sample.picture.bytes()[0])
    };
    (0..data.len()).map(sample).collect()
}

fn expected(samples: &[(&str, Option<usize>, u8)]) -> Vec<(String, Option<usize>, u8)> {
    let owned = |&(file, label, value): &(&str, Option<usize>, u8)| (file.to_owned(), label, value);
    samples.iter().map(owned).collect()
}

#[test]
fn what_systems_leave_behind_is_no_class_and_no_picture() {
    let data = folder(&[
        ("cat/1.png", png(1)),
        ("dog/2.png", png(2)),
        ("dog/._2.png", b"resource fork".to_vec()),
        ("dog/Thumbs.db", Vec::new()),
        ("dog/desktop.ini", Vec::new()),
        ("dog/.ipynb_checkpoints/2-checkpoint.png", png(9)),
        ("__MACOSX/cat/._1.png", b"resource fork".to_vec()),
        ("__MACOSX/._cat", Vec::new()),
        ("@eaDir/1.png", png(9)),
        (".ipynb_checkpoints/x.png", png(9)),
        (".DS_Store", Vec::new()),
        ("Thumbs.db", Vec::new()),
    ]);
    let found = open(&data.path().join("data")).unwrap();
    let both = [("cat/1.png", Some(0), 1), ("dog/2.png", Some(1), 2)];
    assert_eq!(samples(&found), expected(&both));
    assert_eq!(found.class_names().unwrap(), ["cat", "dog"]);
    assert!(found.notices().is_empty(), "{:?}", found.notices());
    // Nor where all files are asked for.
    let pattern = data.path().join("data/**/*.png");
    let all = open(&pattern).unwrap();
    let names: Vec<String> = samples(&all).into_iter().map(|sample| sample.0).collect();
    assert!(
        !names
            .iter()
            .any(|name| name.contains("._") || name.contains("__MACOSX")),
        "{names:?}"
    );
}

#[test]
fn shards_that_macos_packed_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.tar");
    let mut tar = tar::Builder::new(fs::File::create(&path).unwrap());
    for (name, content) in [
        ("./._0.png", b"resource fork".to_vec()),
        ("./0.png", png(7)),
        ("__MACOSX/0.cls", b"no label".to_vec()),
        ("./0.cls", b"3".to_vec()),
    ] {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        tar.append_data(&mut header, name, &content[..]).unwrap();
    }
    tar.into_inner().unwrap();
    fs::write(folder.path().join("._a.tar"), b"resource fork").unwrap();
    for path in [path.as_path(), folder.path()] {
        let found: Vec<_> = samples(&open(path).unwrap())
            .into_iter()
            .map(|(_, label, value)| (label, value))
            .collect();
        assert_eq!(found, [(Some(3), 7)]);
    }
}

#[test]
fn pictures_may_lie_a_folder_deeper() {
    for (files, samples_found, classes) in [
        // Tiny ImageNet's training pictures.
        (
            vec![
                ("n02/images/a.JPEG", png(1)),
                ("n02/n02_boxes.txt", Vec::new()),
                ("n01/images/b.JPEG", png(2)),
            ],
            vec![("n01/images/b.JPEG", Some(0), 2), ("n02/images/a.JPEG", Some(1), 1)],
            Some(vec!["n01", "n02"]),
        ),
        // One class with, one without.
        (
            vec![("a/Images/x.png", png(1)), ("b/y.png", png(2))],
            vec![("a/Images/x.png", Some(0), 1), ("b/y.png", Some(1), 2)],
            Some(vec!["a", "b"]),
        ),
        // No classes at all.
        (
            vec![("images/x.png", png(1)), ("images/y.png", png(2))],
            vec![("images/x.png", None, 1), ("images/y.png", None, 2)],
            None,
        ),
        // Tiny ImageNet's validation pictures.
        (
            vec![
                ("images/val_0.JPEG", png(1)),
                ("images/val_1.JPEG", png(2)),
                ("images/val_2.JPEG", png(3)),
                (
                    "val_annotations.txt",
                    b"val_2.JPEG\tn03\t0\t32\t44\t62\nval_0.JPEG\tn01\t1\t1\t2\t2\nval_1.JPEG\tn03\t1\t1\t2\t2\n".to_vec(),
                ),
            ],
            vec![
                ("images/val_2.JPEG", Some(1), 3),
                ("images/val_0.JPEG", Some(0), 1),
                ("images/val_1.JPEG", Some(1), 2),
            ],
            Some(vec!["n01", "n03"]),
        ),
    ] {
        let data = folder(&files);
        let data = open(&data.path().join("data")).unwrap();
        assert_eq!(samples(&data), expected(&samples_found));
        let classes = classes.map(|all| all.into_iter().map(str::to_owned).collect::<Vec<_>>());
        assert_eq!(data.class_names(), classes.as_deref());
    }
}

#[test]
fn folders_in_class_folders_are_refused_with_a_way_out() {
    for (files, says) in [
        (
            vec!["train/cat/1.png", "val/cat/1.png", "test/1.png"],
            "choose one of them, such as",
        ),
        (
            vec!["cat/one/1.png", "dog/1.png"],
            "cat/one: a class folder holds pictures",
        ),
        (
            vec!["cat/images/deeper/1.png", "cat/images/2.png"],
            "images/deeper: a class folder",
        ),
        (
            vec!["cat/images/1.png", "cat/masks/1.png"],
            "cat/images: a class folder",
        ),
        (vec!["images/1/1.png"], "images/1: a class folder"),
    ] {
        let files: Vec<_> = files.into_iter().map(|name| (name, png(1))).collect();
        let data = folder(&files);
        let error = open(&data.path().join("data")).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
    let broken = folder(&[
        ("images/a.JPEG", png(1)),
        (
            "val_annotations.txt",
            b"a.JPEG\tn01\nb.JPEG\tn02\n".to_vec(),
        ),
    ]);
    let error = open(&broken.path().join("data")).unwrap_err().to_string();
    assert!(error.contains("line 2: there is no file"), "{error}");
}

#[test]
fn arrays_of_archives_have_many_names() {
    let pictures = |first: u8| npy("|u1", "(2, 1, 1)", &[first, first + 1]);
    let labels = |first: u8| npy("|u1", "(2,)", &[first, first + 1]);
    let one = |names: &[&str]| -> Vec<(String, Vec<u8>)> {
        names
            .iter()
            .enumerate()
            .map(|(at, name)| {
                let is_picture = at % 2 == 0;
                let at = 10 * at as u8;
                let content = if is_picture { pictures(at) } else { labels(at) };
                (format!("{name}.npy"), content)
            })
            .collect()
    };
    // Names, pictures and labels one after the other; the first values of those that are taken.
    for (names, picture, label, notice) in [
        (&["x", "y"][..], 0, Some(10), None),
        (&["images", "labels"], 0, Some(10), None),
        (
            &["X", "Y"],
            0,
            Some(10),
            Some("X is used for the pictures and Y"),
        ),
        (
            &["x_train", "y_train", "x_test", "y_test"],
            20,
            Some(30),
            Some("x_test is used"),
        ),
        (&["X_test", "y_test"], 0, Some(10), Some("X_test is used")),
        (
            &[
                "train_images",
                "train_labels",
                "val_images",
                "val_labels",
                "test_images",
                "test_labels",
            ],
            40,
            Some(50),
            Some("test_images is used for the pictures and test_labels for the labels"),
        ),
        (&["data", "targets"], 0, Some(10), Some("data is used")),
        (&["data", "label"], 0, Some(10), Some("data is used")),
        (&["image", "label"], 0, Some(10), Some("image is used")),
        (
            &["arr_0", "arr_1"],
            0,
            Some(10),
            Some("arr_0 is used for the pictures and arr_1"),
        ),
        (&["arr_0"], 0, None, Some("arr_0 is used for the pictures.")),
        // Test pictures without labels, and pictures with.
        (
            &["x_test", "y_train", "x_train"],
            20,
            Some(10),
            Some("x_train is used"),
        ),
    ] {
        let files = one(names);
        let files: Vec<(&str, Vec<u8>)> = files
            .iter()
            .map(|(name, content)| (name.as_str(), content.clone()))
            .collect();
        let data = folder(&[("a.npz", npz(&files))]);
        let data = open(&data.path().join("data/a.npz")).unwrap();
        assert_eq!(data.get(0).unwrap().picture.bytes(), [picture], "{names:?}");
        assert_eq!(data.get(0).unwrap().label, label, "{names:?}");
        match (notice, data.notices()) {
            (None, []) => {}
            (Some(says), [notice]) => assert!(notice.contains(says), "{notice}"),
            (_, notices) => panic!("{names:?}: {notices:?}"),
        }
    }
    for names in [&["z", "labels"][..], &["model", "weights"]] {
        let files = one(names);
        let files: Vec<(&str, Vec<u8>)> = files
            .iter()
            .map(|(name, content)| (name.as_str(), content.clone()))
            .collect();
        let data = folder(&[("a.npz", npz(&files))]);
        let error = open(&data.path().join("data/a.npz"))
            .unwrap_err()
            .to_string();
        assert!(error.contains("no array named x, images"), "{error}");
    }
}

#[test]
fn floats_are_cut_off_where_arithmetic_went_beyond() {
    let array = |values: &[f32]| {
        let bytes: Vec<u8> = values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        folder(&[(
            "x.npy",
            npy("<f4", &format!("({}, 1, 1)", values.len()), &bytes),
        )])
    };
    let near = [
        1.0_f32.next_up(),
        1.0 + 9e-7,
        0.0_f32.next_down(),
        -9e-7,
        -0.0,
    ];
    let data = array(&near);
    let data = open(&data.path().join("data/x.npy")).unwrap();
    let values: Vec<u8> = samples(&data).iter().map(|sample| sample.2).collect();
    assert_eq!(values, [255, 255, 0, 0, 0]);
    assert!(data.notices().is_empty(), "{:?}", data.notices());
    for beyond in [1.00001, -0.00001, f32::NAN, f32::NEG_INFINITY] {
        let data = array(&[0.5, beyond]);
        let error = open(&data.path().join("data/x.npy"))
            .unwrap_err()
            .to_string();
        assert!(error.contains("x.npy[1]"), "{error}");
    }
}

/// Portable pixmaps, with their bytes as Pillow 13.0.0 reads them.
#[test]
fn portable_pixmaps_are_pictures() {
    for (name, content, channels, bytes) in [
        (
            "a.ppm",
            &b"P6\n# by hand\n2 1\n255\n\x01\x02\x03\xff\x80\x00"[..],
            3,
            &[1, 2, 3, 255, 128, 0][..],
        ),
        (
            "a.ppm",
            b"P3 1 2 255 1 2 3\n255 128 0\n",
            3,
            &[1, 2, 3, 255, 128, 0],
        ),
        ("a.pgm", b"P5 2 1 255 \x07\xfe", 1, &[7, 254]),
        ("a.pgm", b"P2\n2 1\n15\n7 15\n", 1, &[119, 255]),
        ("a.pbm", b"P1\n3 1\n1 0 1\n", 1, &[0, 255, 0]),
        ("a.pbm", b"P4\n3 1\n\xa0", 1, &[0, 255, 0]),
        ("a.pnm", b"P5 1 1 255 \x2a", 1, &[42]),
    ] {
        let data = folder(&[(name, content.to_vec())]);
        let data = open(&data.path().join("data")).unwrap();
        let picture = data.get(0).unwrap().picture;
        assert_eq!(
            (picture.channels(), picture.bytes()),
            (channels, bytes),
            "{name}"
        );
    }
    for content in [
        &b"P6\n65000 65000\n255\n\x01"[..],
        b"P6\n2000 2000\n255\n\x01",
        b"P4\n100000 100\n\x01",
        b"P6\n1 1\n255\n",
        b"P3 1 1 255 1 2 x",
        b"P6\n0 1\n255\n",
        b"P7\nWIDTH 4\n",
    ] {
        let error = Picture::decode(content, "a.ppm").unwrap_err().to_string();
        assert!(error.starts_with("a.ppm"), "{error}");
    }
}

#[test]
fn names_in_another_unicode_form_are_the_same() {
    let (composed, parted) = ("\u{fc}-\u{e9}.png", "u\u{308}-e\u{301}.png");
    let (folder_composed, folder_parted) = ("caf\u{e9}", "cafe\u{301}");
    for (on_disk, listed) in [
        (
            format!("{folder_parted}/{parted}"),
            format!("{folder_composed}/{composed}"),
        ),
        (
            format!("{folder_composed}/{composed}"),
            format!("{folder_parted}/{parted}"),
        ),
        (
            format!("{folder_composed}/{parted}"),
            format!("{folder_composed}/{composed}"),
        ),
    ] {
        let data = folder(&[
            (&on_disk, png(5)),
            (
                "labels.csv",
                format!("file,label\n{listed},3\n").into_bytes(),
            ),
            ("list.txt", format!("{listed}\t3\n").into_bytes()),
        ]);
        for path in ["data", "data/list.txt"] {
            let found = open(&data.path().join(path)).unwrap();
            assert_eq!(samples(&found), [(on_disk.clone(), Some(3), 5)], "{path}");
        }
    }
    let data = folder(&[
        ("a.png", png(1)),
        ("labels.csv", "file,label\nb\u{e9}.png,3\n".into()),
    ]);
    let error = open(&data.path().join("data")).unwrap_err().to_string();
    assert!(error.contains("line 2: there is no file"), "{error}");
}

#[cfg(unix)]
#[test]
fn links_to_nowhere_and_illegible_names_are_said_as_such() {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt, os::unix::fs::symlink};
    let link = |at: &str| {
        let data = folder(&[("cat/1.png", png(1)), ("other/2.png", png(1))]);
        let path = data.path().join("data").join(at);
        symlink("/nowhere/2.png", &path).unwrap();
        (data, path)
    };
    for at in ["cat/2.png", "dog", "labels.csv", "other/x"] {
        let (data, path) = link(at);
        for path in [&data.path().join("data"), &path] {
            let error = open(path).unwrap_err().to_string();
            let says = format!("{at} is a link to /nowhere/2.png, which does not exist");
            assert!(error.contains(&says), "{error}");
        }
    }
    let (data, _) = link("cat/2.png");
    symlink("/nowhere/3.png", data.path().join("data/cat/3.png")).unwrap();
    let error = open(&data.path().join("data")).unwrap_err().to_string();
    assert!(error.contains("(and 1 more like it)"), "{error}");
    // A link that a list names, and one that nothing asks for.
    fs::write(data.path().join("list.txt"), "data/cat/2.png\n").unwrap();
    let error = open(&data.path().join("list.txt")).unwrap_err().to_string();
    assert!(
        error.contains("line 1: ") && error.contains("is a link to"),
        "{error}"
    );
    let (data, _) = link("cat/.hidden");
    assert_eq!(open(&data.path().join("data")).unwrap().len(), 2);

    let data = folder(&[("cat/1.png", png(1))]);
    let illegible = data
        .path()
        .join("data/cat")
        .join(OsStr::from_bytes(b"caf\xe9.png"));
    fs::write(&illegible, png(1)).unwrap();
    for path in [data.path().join("data"), illegible] {
        let error = open(&path).unwrap_err().to_string();
        assert!(
            error.contains("caf\\xe9.png: the name is not UTF-8; rename it"),
            "{error}"
        );
    }
}

#[test]
fn a_crop_beyond_a_resized_picture_is_black_and_said() {
    let white = Picture::new(1, 4, 6, vec![255; 24]).unwrap().encode_png();
    let data = folder(&[("a.png", white)]);
    for (resize, crop, notices, white) in [
        ("4", "4", 0, 16),
        ("2", "4", 1, 6),
        ("2x2", "3:down", 1, 4),
        ("4", "2x5", 0, 10),
    ] {
        let options = DataOptions {
            transform: Transform {
                resize: Some(resize.parse().unwrap()),
                crop: Some(crop.parse().unwrap()),
                ..Transform::default()
            },
            ..DataOptions::default()
        };
        let data = Dataset::open(&data.path().join("data"), &options).unwrap();
        assert_eq!(data.notices().len(), notices, "{resize} {crop}");
        let picture = data.get(0).unwrap().picture;
        let found = picture
            .bytes()
            .iter()
            .filter(|&&level| level == 255)
            .count();
        assert_eq!(found, white, "{resize} {crop}: {:?}", picture.bytes());
    }
}
