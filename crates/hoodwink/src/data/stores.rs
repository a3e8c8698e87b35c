//! Tests of files that hold many pictures, as other programs write them.

use std::io::Write as _;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use tempfile::TempDir;

use super::*;

/// `pickle.dumps({b'batch_label': b'testing batch 1 of 1', b'labels': [3, 8], b'data': x, b'filenames': ...}, protocol=2)`
/// by Python 3.11 and NumPy 2.4, gzipped; `x` is `[2, 3072]`, in row `n` pixel `row` of channel `c` is `80 c + row + n`.
const PICKLE_2: &str = "H4sIAAAAAAACA+3ax47aUBTGcZs2YJjO9OZ0UoTEa8QKSpxGkiHENqYkYDhgFkiJNJvMZN4ivffeIyUPllzD7L/FWWV0f38JoXsvF7M8EhuhG6RknJLTKrtOV3O94I1GaiGpKIpt+U6t1LBst0GhQkysNCy/7uUovEkRk6I1tZAWi77bFatVfXBcz+mtip6jWE0cGjEpLg4NPylu6VIiWNZMShYplTHCRtwV+xGxX7Z8i0aD3TGTxh2v12z3s+KxOm622Wv4davTsfpaqeM6La/rd3qOr9HE8JjmlYe7NGkoN2lK3KgGT0/TwXVpk2a2aNakuYyhGqETSmqT5nc+WPb7bfFrFwohcb6Xo8XtW1u0ZNKyeLTBHddpJZ/PH/8rDF4MxadVe1t8g6IrkAqEgDAQAaJADBgB4kAC0IAkkAJGgTFgHJgAJoEpYBpIAzPALDAHzAMLwCKwBCwDK8AqsAacBE4BJnAaOAOcBc4B54ECcAG4CFwC1oEicBkoAVcAC7ABBygDLlABqkANqANXgWtAA2gCHtACft9mdofZXWb3mN1n9oDZQ2aPmD1m9oTZU2bPmD1n9oLZS2avmL1m9obZW2bvmL1n9oHZR2afmH1m9oXZV2bfmH1n9oPZT2a/eMn5Xs73cr7fvfO9Dsj5Xs73cr7fvfN9G5Dzu5zf5fwu53c5v8v5Xc7v/9/8/meDF60FfzDQTdrj0167phYSiqJU6g3Xs5pul/YFu/tNOlCkgxmxGxW7VrbtVelQsJMx6fDOqj1YPRKsHjXpmNvL/gMv5CGcmCEAAA==";
/// The same pictures with `fine_labels` 3 and 99 and `coarse_labels`, in protocol 4 and with text for keys.
const PICKLE_4: &str = "H4sIAAAAAAACA+3WyU8TURzA8ekmW3FhE3DBI6cm/gtyY0IjCC4I1pnpIIV22kxnDk0g4QJI8m78uAuKCgoqiyyuR/8rhdaLF7/35n0O7/Dy+73k3b4L8bVf3UbVvPSrlqmc52bylu3myzIp/WbMdFzV6hQtv/zPfcSMuiqetQJLVJcXFkqVVMYp+m6qEOaDnOX7VkVUMuO7TtErB37oBLIqKlGdFNXgZWsjq2IaizIQsWVZRmrPDhnJJZluUolsUCm551vR8LasPK8NxFRkTtLp9ODvM9XDNAKxV+4Yf3/xPxEQBTEQBwlwATSARtAEmkELSIJWcBFcApfBFdAG2kEH6ARd4CroBj2gF1wD18ENcBP0gbtgGIyAe2AUjIH74AF4CB6BcfAYTIBJ8ARkwFNgARs4IAtcMAWegWmQAzNgFuRBAXigCF6AdbABXoJXYBO8Bm/AW7AFtsE78B7sgF3wAXwEn8Ae2AcH4BB8BkfgGJyAU/AFfAXfwHfwA+i+132v+75++/4W0H2v+173ff32fQnovtd9r/u+fvv+J5BA7DD1ByM2FCDTGAAA";
/// `{b'label_names': [b'airplane', b'automobile'], b'num_vis': 3072}`, in protocol 2.
const META: &str = "H4sIAAAAAAACAx3JsQ7CIBhFYVq1rbTqa3Qy8UFcmFgMofgnJaHgleJm4uRzC24n5/vUb7DRKBPuZCInX4Kjkj1jzOmJnPJ6oYhaNv+zWn/B5outwO6GZpwr2WXQ9vlw2hPaOWMnsM/AC6Q1LGGyjsAL9QIDZWuz+bSol404FDgKnK5sSOcf926R5JMAAAA=";
/// Three PNGs of 1x2 pixels, (10, 2, 3) (4, 5, 6) and then 20 and 30 instead of 10, with the labels 2, 0 and 1, written
/// by pyarrow in groups of two rows, with the description of Hugging Face and the class names cat, dog and fish.
const PARQUET: &str = "H4sIAAAAAAACA81WQWwbRRSd2ay3TnCEE3VH6yoHy0pXiZQG2yVpqVKJXbu2N5g0cXAdGxCsN+v1Vru267XruFEviEs5oApxqFAPEUKIEwKpBw4IcYBL1UMPPSAEEkII5YLgxAkhZma9jhObSEEcOrJ3/sz///3573lsr0u5GM/ynzH8DzCLDTANwD3YyAAA7qyvpScnzkxgc1LJJHN4ZvAb+iH3ye6L+z9i+1klKb2yc1/7pVz++9tHATBWgFO+3/+cxS6gXFlLfiq/+dZXWWAF1XJF1ccA+BzMz1//OT/o5wE/zaMFXDvIczw3swzmMv9amjxPUFs4EdJxp5yawovxMMliGTjG4OPO8nMeY9NJH3ZEFxs1gxgxYozoy0cdgo8GjkAM87MeYnCFOAbHUTzB70UIfi8GgbkRu4OVoFvpHuQ/wHoztFb2pHLf1XpE/QbO3/Gd+X6UnMx/lPM4bOF/QxqghGEgAzAl+NQeIeNhomJ8UMWBdnxxV8X4ERU9oCB/2gPyz8Aj6jF99WBfJzig3vDuYAVIK4ReWwIC52hV3VZ5Fiwxgs+0VUPHNh84i1flbkt3XJttqK3qWZCdIWdgidNSy7oFEBdaCK2IYIYPhJYAFwzNuRhuLs8gFn3hQ/us+DYj+p/eOxki9wHwDOE3iKcVtMeEuNAy/qTjwOH2KB20u/sQfQTFBz7xD3bU1RwGPn0Yl3Vxe3xSyEcQPYHiE058/4S3c6jYPBcSaSW050es6Ec/nQLHqsWgPRZ9zIofjov7p57eOzfM6l3o0socKxeD3oHoPSh+HRDfDYy6g8PAE4dxh+Ri0JcQfQPFx5Pi3uTJruNouUgl9CuHGKwA+ovDUcIz1bZhmDWjomq6sLMbMWuVeuRSeDdS0dVWu6k7dEE7pdYbrW6DWBGFbt1eCEfocamzpto04dWIprYi2LVdN8hUMZ1q5HVs9LMTluo4WZp4Gw8gBKRc7mrhkvuNIXzHPkfGBUOWJGlDcsdLkvS8JBtSSpIMKWHQPVk+5O+Q+Urfn93orT0U6lfILNOZBCUUCkQeGbKWLyi21S7ZF82rJrFLVnErF9Psa7eU63VD7642yoVUrbSpLCsZx9w6n1vS0nkcK5mbhVi1FM+blc2Oodg71aJ9zenltIuFmKV1cU7KMYvxVFQxSUzuZqmrOEpi1Va31uqKFSV2ZTtjdSh+YjVZTqduadEeVi32QmUrSttJkFbS1Vgpvt0o29t2sbBm0ZbcTnr9JDGJFwkFCUpCQjrgg448iXSKhVWrTNeGlKQgWi+UjBR93ljHUKTmRrTYI9EjNeEhSfJGP0F1uSBug0gZ7+fnaVD6IH/gvHJ1O+0K2yXxOxQMlypKckd6uXd4L0mW3Va1fv7AgYs1K1raOkhx/ZcvAyHcUJs32nrrnNZonFObzXonfFNvOma9Fo4vL0YXY6EV/EvkvsBDDoB1/P/zH0vVOaqECgAA";
/// The first two of these PNGs by Python's `tarfile`: `sub/0001.png`, its `.cls` 7 and a `.json`; `sub/0002.cls` 1, `.png`.
const TAR: &str = "H4sIAAAAAAACAysuTdI3MDAw1CvIS2egEQCab2BmYgKmgQCdNjA0RLAh4uZmhiYMCgYMdAClxSWJRUArGUYm6Azwc+flkuICMnk9PVyCgDQTEDNygMhqhxd3gRS/p4tjSMWc5CdJSf+OnuFhYA5nFGR9/00FpN/T1c9lnVNCE8MoGJKgGJb/k3OKByr/GxgYYeZ/w9H8Tw9gzjWaB0bzPzD/ZxXn5w2W/G8IctFo/qcHqK4dzQOj+d/AaGDrf8PR+n+AgOFoFhjN/6D8P9j6/6aj+X+w9f8FEpPSElOZGRg2MmhqZj0KHe3/j4JRMApGwSgYBaNgFIyCUTAKRsEoGAWjYBSMglEwCkbB4AUAzC/fgwAoAAA=";

fn unpacked(base64: &str) -> Vec<u8> {
    let packed = BASE64_STANDARD.decode(base64).unwrap();
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut GzDecoder::new(&packed[..]), &mut bytes).unwrap();
    bytes
}

pub(super) fn folder(files: &[(&str, Vec<u8>)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
    folder
}

fn open(folder: &TempDir, name: &str) -> Result<Dataset> {
    Dataset::open(&folder.path().join(name), &DataOptions::default())
}

fn labels(data: &Dataset) -> Vec<usize> {
    data.labels().unwrap().to_vec()
}

pub(super) fn gzipped(bytes: &[u8]) -> Vec<u8> {
    let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
    packer.write_all(bytes).unwrap();
    packer.finish().unwrap()
}

/// An IDX file of bytes.
pub(super) fn idx(sides: &[u32], elements: &[u8]) -> Vec<u8> {
    let mut file = vec![0, 0, 8, sides.len() as u8];
    file.extend(sides.iter().flat_map(|side| side.to_be_bytes()));
    file.extend(elements);
    file
}

/// A picture of CIFAR: pixel `row` of channel `c` is `80 c + row + more`.
fn cifar(more: u8) -> Vec<u8> {
    (0..3 * 32 * 32)
        .map(|at: usize| (at / 1024 * 80 + at % 1024 / 32) as u8 + more)
        .collect()
}

#[test]
fn idx_files_have_their_labels_beside_them() {
    let pictures = idx(&[2, 2, 3], &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
    let folder = folder(&[
        ("t10k-images-idx3-ubyte", pictures.clone()),
        ("t10k-labels-idx1-ubyte", idx(&[2], &[7, 0])),
        ("train-images-idx3-ubyte.gz", gzipped(&pictures)),
        ("train-labels-idx1-ubyte.gz", gzipped(&idx(&[2], &[1, 2]))),
        ("more/images-idx3-ubyte", pictures[..20].to_vec()),
    ]);
    for (name, expected) in [
        ("t10k-images-idx3-ubyte", [7, 0]),
        ("train-images-idx3-ubyte.gz", [1, 2]),
    ] {
        let data = open(&folder, name).unwrap();
        assert_eq!(labels(&data), expected);
        let picture = data.get(1).unwrap().picture;
        assert_eq!((picture.height(), picture.width()), (2, 3));
        assert_eq!(picture.bytes(), [7, 8, 9, 10, 11, 12]);
    }
    let cut = open(&folder, "more/images-idx3-ubyte").unwrap_err();
    assert!(cut.to_string().contains("its header asks for 28"), "{cut}");
}

#[test]
fn a_folder_of_splits_means_the_one_for_testing() {
    let one = |label: u8| [&[label][..], &cifar(0)].concat();
    let folder = folder(&[
        ("data_batch_1.bin", one(1)),
        ("data_batch_2.bin", one(2)),
        ("test_batch.bin", one(3)),
        (
            "batches.meta.txt",
            b"airplane\nautomobile\nbird\ncat\n\n".to_vec(),
        ),
    ]);
    let data = open(&folder, "").unwrap();
    assert_eq!(labels(&data), [3]);
    assert!(
        data.notices()[0].contains("test_batch.bin"),
        "{:?}",
        data.notices()
    );
    assert_eq!(data.class_names().unwrap()[3], "cat");
    let training = open(&folder, "data_batch_{1..2}.bin").unwrap();
    assert_eq!(labels(&training), [1, 2]);
    let picture = training.get(1).unwrap().picture;
    assert_eq!(picture.bytes()[..3], [0, 80, 160]);
    assert_eq!(picture.bytes()[32 * 3..][..3], [1, 81, 161]);
}

#[test]
fn the_finer_label_of_two_counts() {
    let folder = folder(&[("test.bin", [&[19, 88][..], &cifar(0)].concat())]);
    assert_eq!(labels(&open(&folder, "test.bin").unwrap()), [88]);
}

#[test]
fn pickled_batches_are_read_without_running_them() {
    let folder = folder(&[
        ("ten/test_batch", unpacked(PICKLE_2)),
        ("ten/batches.meta", unpacked(META)),
        ("hundred/test", unpacked(PICKLE_4)),
        (
            "evil/test",
            b"\x80\x02cos\nsystem\nX\x02\0\0\0id\x85R.".to_vec(),
        ),
    ]);
    for (name, expected) in [("ten/test_batch", [3, 8]), ("hundred/test", [3, 99])] {
        let data = open(&folder, name).unwrap();
        assert_eq!(labels(&data), expected);
        let picture = data.get(1).unwrap().picture;
        assert_eq!(picture.bytes()[31 * 32 * 3..][..3], [32, 112, 192]);
    }
    let names = open(&folder, "ten").unwrap();
    assert_eq!(names.class_names().unwrap(), ["airplane", "automobile"]);
    let refused = open(&folder, "evil/test").unwrap_err().to_string();
    assert!(refused.contains("is not a pickle of"), "{refused}");
}

#[test]
fn damaged_pickles_and_archives_never_panic() {
    for (name, bytes) in [
        ("test", unpacked(PICKLE_4)),
        ("a.parquet", unpacked(PARQUET)),
        ("a.tar", unpacked(TAR)),
    ] {
        let step = bytes.len() / 150 + 1;
        for at in (0..bytes.len()).step_by(step) {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x55;
            let folder = folder(&[
                (name, damaged),
                (&format!("cut_{name}"), bytes[..at].to_vec()),
            ]);
            for name in [name.to_owned(), format!("cut_{name}")] {
                // Whether it can still be read depends on the place.
                if let Ok(data) = open(&folder, &name) {
                    let _ = data.get(0);
                }
            }
        }
    }
}

#[test]
fn tables_of_hugging_face_are_read_group_by_group() {
    let folder = folder(&[
        ("data/test-00000-of-00001.parquet", unpacked(PARQUET)),
        ("data/train-00000-of-00001.parquet", unpacked(PARQUET)),
        ("README.md", Vec::new()),
    ]);
    let data = open(&folder, "").unwrap();
    assert_eq!(labels(&data), [2, 0, 1]);
    assert_eq!(data.class_names().unwrap(), ["cat", "dog", "fish"]);
    assert_eq!(data.notices().len(), 1);
    for (index, red) in [(2, 30), (0, 10), (1, 20), (2, 30)] {
        let sample = data.get(index).unwrap();
        assert_eq!(sample.picture.bytes(), [red, 2, 3, 4, 5, 6]);
        assert_eq!(sample.file, format!("test-00000-of-00001.parquet[{index}]"));
    }
    let both = open(&folder, "data/*.parquet").unwrap();
    assert_eq!(labels(&both), [2, 0, 1, 2, 0, 1]);
    assert_eq!(both.get(5).unwrap().picture.bytes()[0], 30);
}

#[test]
fn shards_are_read_where_they_lie() {
    let folder = folder(&[("a-000.tar", unpacked(TAR)), ("a-001.tar", unpacked(TAR))]);
    let data = open(&folder, "a-{000..001}.tar").unwrap();
    assert_eq!(labels(&data), [7, 1, 7, 1]);
    let sample = data.get(3).unwrap();
    assert_eq!(sample.picture.bytes()[0], 20);
    assert_eq!(sample.file, "a-001.tar/sub/0002.png");
    let missing = open(&folder, "a-{000..002}.tar").unwrap_err().to_string();
    assert!(missing.contains("a-002.tar"), "{missing}");
}
