//! Malicious files. Each is refused with a clear error, without using the time and memory that it claims.

use std::fs::File;
use std::path::Path;

use tempfile::TempDir;

use super::stores::{folder, gzipped, idx};
use super::tests::{npy, npz};
use super::*;

fn open(folder: &TempDir, name: &str) -> Result<Dataset> {
    Dataset::open(&folder.path().join(name), &DataOptions::default())
}

/// Asserts that opening each file and reading its first picture fails with this short error.
#[track_caller]
fn refused(files: &[(&str, Vec<u8>)], says: &str) {
    let folder = folder(files);
    refused_in(folder.path(), files[0].0, says);
}

#[track_caller]
fn refused_in(folder: &Path, name: &str, says: &str) {
    let opened = Dataset::open(&folder.join(name), &DataOptions::default());
    let error = match opened.and_then(|data| data.get(0)) {
        Ok(_) => panic!("{name} should be refused, saying {says:?}"),
        Err(error) => error.to_string(),
    };
    assert!(error.contains(says), "{error:?} does not say {says:?}");
    assert!(error.len() < 600, "{} bytes are no sentence", error.len());
}

mod pickles {
    use super::*;

    /// Pickles a text.
    fn text(text: &[u8]) -> Vec<u8> {
        let length = (text.len() as u32).to_le_bytes();
        [b"X", &length[..], text].concat()
    }

    /// Builds nested lists, each of which is twice in the next.
    fn doubled(depth: u8, twice: &[&[u8]; 3]) -> Vec<u8> {
        let mut pickle = b"\x80\x02]q\0".to_vec();
        for at in 0..depth {
            let [begin, between, end] = twice;
            pickle.extend(
                [
                    begin,
                    &[b'h', at][..],
                    between,
                    &[b'h', at],
                    end,
                    &[b'q', at + 1],
                ]
                .concat(),
            );
        }
        [&pickle[..], b"."].concat()
    }

    /// Builds a batch of one picture and `labels` labels 7, with an array pickled in one of the possible ways.
    fn batch(array: &[u8], labels: usize) -> Vec<u8> {
        let mut pickle = b"\x80\x05]q\x01".to_vec();
        // Appended after the list was memoised, so the list that is recalled below has them too.
        pickle.extend(b"K\x07a".repeat(labels));
        pickle.extend(
            [
                b"}(",
                &text(b"data")[..],
                array,
                &text(b"labels"),
                b"h\x01u.",
            ]
            .concat(),
        );
        pickle
    }

    fn reconstructed(fortran: u8) -> Vec<u8> {
        let start =
            b"cnumpy._core.multiarray\n_reconstruct\n)R(K\x01K\x01M\0\x0c\x86cnumpy\ndtype\n";
        let bytes = [&b"B\0\x0c\0\0"[..], &[5; 3072]].concat();
        [start, &text(b"u1")[..], b"\x85R", &[fortran], &bytes, b"tb"].concat()
    }

    fn from_buffer(order: &[u8]) -> Vec<u8> {
        let bytes = [&b"\x96\0\x0c\0\0\0\0\0\0"[..], &[5; 3072]].concat();
        let kind = [&b"cnumpy\ndtype\n"[..], &text(b"u1"), b"\x85R"].concat();
        let shape = b"K\x01M\0\x0c\x86";
        [
            b"cnumpy._core.numeric\n_frombuffer\n(",
            &bytes[..],
            &kind,
            shape,
            &text(order),
            b"tR",
        ]
        .concat()
    }

    #[test]
    fn lists_and_arrays_are_those_of_python() {
        for array in [reconstructed(0x89), from_buffer(b"C")] {
            let folder = folder(&[("test_batch", batch(&array, 1))]);
            let data = open(&folder, "test_batch").unwrap();
            assert_eq!(data.labels().unwrap(), [7]);
            assert_eq!(data.get(0).unwrap().picture.bytes(), [5; 3072]);
        }
        // In Fortran order the bytes would be other pixels.
        for array in [reconstructed(0x88), from_buffer(b"F")] {
            refused(&[("test_batch", batch(&array, 1))], "holds no pixels");
        }
    }

    #[test]
    fn values_that_grow_faster_than_their_pickle_are_not_followed() {
        let long = text(&[b'a'; 1_000_000]);
        let encode = [b"c_codecs\nencode\nq\0", &long[..], b"\x85q\x01"].concat();
        for (pickle, says) in [
            (doubled(40, &[b"]", b"a", b"a"]), "no pixels"),
            (doubled(40, &[b"", b"", b"\x86"]), "no pixels"),
            (
                [b"\x80\x02]", &b"q\0Na".repeat(200_000)[..], b"."].concat(),
                "no pixels",
            ),
            (
                [b"\x80\x02}", &b"K\x01K\x01s".repeat(200_000)[..], b"."].concat(),
                "no pixels",
            ),
            (
                [
                    b"\x80\x02](",
                    &b"N".repeat(100_000)[..],
                    b"eq\0",
                    &b"h\0Na".repeat(30_000),
                    b".",
                ]
                .concat(),
                "no pixels",
            ),
            (
                [
                    b"\x80\x02",
                    &encode[..],
                    &b"h\0h\x01R".repeat(100_000),
                    b".",
                ]
                .concat(),
                "no pixels",
            ),
            (b"\x80\x02]q\0h\0a.".to_vec(), "no pixels"),
            (b"\x80\x02Nr\xFF\xFF\xFF\xFF.".to_vec(), "no pixels"),
            (
                [b"\x80\x02", &b"(".repeat(3_000_000)[..]].concat(),
                "1048576 instructions",
            ),
            (
                [b"\x80\x02", &b"]".repeat(3_000_000)[..]].concat(),
                "1048576 instructions",
            ),
            (b"\x80\x02K\x01K\x02s.".to_vec(), "is not a pickle of"),
        ] {
            refused(&[("test_batch", pickle)], says);
        }
    }

    #[test]
    fn labels_are_counted_and_names_measured_before_they_are_taken() {
        for labels in [0, 2] {
            let batch = batch(&reconstructed(0x89), labels);
            refused(&[("test_batch", batch)], "but");
        }
        // A hundred thousand times a name of 100 kB.
        let start = [
            b"\x80\x02}",
            &text(b"label_names")[..],
            b"](",
            &text(&[b'a'; 100_000]),
            b"q\0",
        ];
        let names = [&start.concat()[..], &b"h\0".repeat(100_000), b"es."].concat();
        let batch = batch(&reconstructed(0x89), 1);
        let folder = folder(&[("test_batch", batch), ("batches.meta", names)]);
        let data = open(&folder, "test_batch").unwrap();
        assert_eq!(data.class_names(), None);
    }
}

/// Returns the position of `part` in a file.
fn find(file: &[u8], part: &[u8]) -> usize {
    let found = file.windows(part.len()).position(|at| at == part);
    found.unwrap()
}

mod archives {
    use super::*;

    fn x() -> Vec<u8> {
        npy("|u1", "(2, 1, 1)", &[1, 2])
    }

    /// Builds an archive whose directory has other bytes for its first entry, from this byte on.
    fn archive(at: usize, says: &[u8]) -> Vec<u8> {
        let mut archive = npz(&[("x.npy", x()), ("y.npy", npy("|u1", "(2,)", &[0, 1]))]);
        let entry = find(&archive, b"PK\x01\x02");
        archive[entry + at..][..says.len()].copy_from_slice(says);
        archive
    }

    #[test]
    fn entries_that_lie_are_refused() {
        let length = x().len() as u32;
        for (at, value, says) in [
            (8, &[1, 0][..], "encrypted"),
            (10, &[12, 0], "is compressed with"),
            (16, &[1, 2, 3, 4], "checksum"),
            (20, &1_u32.to_le_bytes(), "header cannot be read"),
            (20, &70_u32.to_le_bytes(), "x"),
            (24, &(length + 1).to_le_bytes(), "its header asks for"),
            (24, &(length - 1).to_le_bytes(), "its header asks for"),
            (24, &2_000_000_000_u32.to_le_bytes(), "bytes cannot unpack"),
            (24, &0xFFFF_FFFE_u32.to_le_bytes(), "save it as .npy"),
            (42, &[1, 0, 0, 0], "cannot be read"),
            (42, &[0, 0, 0, 0x7F], "cannot be read"),
        ] {
            let packed = [("set.npz", archive(at, value))];
            refused(&packed, says);
        }
        let mut longer = npy("|u1", "(2, 1, 1)", &[1, 2, 3]);
        let mut packed = npz(&[("x.npy", std::mem::take(&mut longer))]);
        let entry = find(&packed, b"PK\x01\x02");
        packed[entry + 24..][..4].copy_from_slice(&length.to_le_bytes());
        refused(&[("set.npz", packed)], "damaged");
    }

    #[test]
    fn labels_are_counted_before_they_are_unpacked() {
        let labels = npy("|i1", "(20000000,)", &vec![0xFF; 20_000_000]);
        let packed = npz(&[("x.npy", x()), ("y.npy", labels.clone())]);
        let says = "20000000 labels, but set.npz has 2 pictures";
        refused(&[("set.npz", packed)], says);
        let folder = folder(&[("x.npy", x()), ("y.npy", labels)]);
        let options = DataOptions {
            labels: Some(folder.path().join("y.npy")),
            ..DataOptions::default()
        };
        let error = Dataset::open(&folder.path().join("x.npy"), &options);
        let error = error.unwrap_err().to_string();
        assert!(error.contains("20000000 labels, but x.npy"), "{error}");
    }

    #[test]
    fn arrays_that_are_mostly_a_hole_are_not_gone_through() {
        let count: u64 = 1 << 40;
        let [x, y] = [format!("({count}, 1, 1)"), format!("({count},)")];
        let (x, y) = (npy("|u1", &x, &[]), npy("|u1", &y, &[]));
        let folder = folder(&[("x.npy", x.clone()), ("y.npy", y)]);
        for name in ["x.npy", "y.npy"] {
            let file = File::options().write(true).open(folder.path().join(name));
            file.unwrap().set_len(x.len() as u64 + count).unwrap();
        }
        refused_in(folder.path(), "x.npy", "set a limit");
        let mut options = DataOptions {
            limit: Some(3),
            ..DataOptions::default()
        };
        let path = folder.path().join("x.npy");
        assert_eq!(Dataset::open(&path, &options).unwrap().len(), 3);
        options.labels = Some(folder.path().join("y.npy"));
        let error = Dataset::open(&path, &options).unwrap_err().to_string();
        assert!(error.contains("divide the data into parts"), "{error}");
    }

    #[test]
    fn a_damaged_byte_is_found_by_the_checksum() {
        let shape = "(200, 1, 1)";
        let whole = npz(&[
            ("x.npy", npy("|u1", shape, &[7; 200])),
            ("y.npy", npy("|u1", "(200,)", &[1; 200])),
        ]);
        assert!(open(&folder(&[("set.npz", whole.clone())]), "set.npz").is_ok());
        let directory = find(&whole, b"PK\x01\x02");
        for array in [b"x.npy", b"y.npy"] {
            let mut other = whole.clone();
            let entry = directory + find(&whole[directory..], array) - 46;
            other[entry + 16] ^= 1;
            refused(&[("set.npz", other)], "checksum");
        }
    }

    #[test]
    fn names_are_looked_through_and_few_are_shown() {
        let two = npz(&[("x.npy", x()), ("y.npy", x())]);
        let mut twice = two.clone();
        let directory = find(&two, b"PK\x01\x02");
        let name = directory + find(&two[directory..], b"y.npy");
        twice[name] = b'x';
        refused(&[("set.npz", twice)], "two arrays named x");

        let long: Vec<String> = (0..300)
            .map(|at| format!("{}{at}.npy", "n".repeat(9000)))
            .collect();
        let long: Vec<(&str, Vec<u8>)> = long
            .iter()
            .map(|name| (name.as_str(), Vec::new()))
            .collect();
        refused(&[("set.npz", npz(&long))], "and 295 more");

        let many: Vec<String> = (0..10_001).map(|at| format!("{at}.npy")).collect();
        let many: Vec<(&str, Vec<u8>)> = many
            .iter()
            .map(|name| (name.as_str(), Vec::new()))
            .collect();
        refused(&[("set.npz", npz(&many))], "more than 10000 entries");
        refused(&[("set.npz", npz(&[]))], "no array named x");
    }

    #[test]
    fn headers_of_arrays_are_shown_in_few_words() {
        let axes = format!("({})", "1,".repeat(20_000));
        let header = |descr: &str, shape: &str| {
            let text =
                format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}");
            let length = (text.len() as u16).to_le_bytes();
            [b"\x93NUMPY\x01\0", &length[..], text.as_bytes(), &[0]].concat()
        };
        for (array, says) in [
            (header("|u1", &axes), "20000 axes"),
            (header(&"V".repeat(60_000), "(1,1,1)"), "values of type VVV"),
            (
                header("|u1", "(18446744073709551615, 18446744073709551615, 2)"),
                "claims the shape",
            ),
            (header("|u1", "(1, 1, 1"), "no shape"),
        ] {
            refused(&[("x.npy", array.clone())], says);
            refused(&[("set.npz", npz(&[("x.npy", array)]))], "set.npz");
        }
    }
}

mod packed {
    use super::*;

    #[test]
    fn headers_are_read_before_anything_is_unpacked() {
        let pictures = "train-images-idx3-ubyte.gz";
        let bomb = gzipped(&[idx(&[2, 2, 3], &[]), vec![0; 30_000_000]].concat());
        refused(&[(pictures, bomb)], "does not unpack to the 12 bytes");
        let claim = gzipped(&idx(&[60_000, 28, 28], &[0; 100]));
        refused(&[(pictures, claim)], "its header asks for 47040016");
        let claim = gzipped(&idx(&[u32::MAX, u32::MAX, u32::MAX], &[0; 100]));
        refused(&[(pictures, claim)], "its header asks for");
        let cut = gzipped(&idx(&[2, 2, 3], &[0; 11]));
        refused(&[(pictures, cut)], "does not unpack to the 12 bytes");
        let mut damaged = gzipped(&idx(&[2, 2, 3], &[0; 12]));
        let end = damaged.len() - 8;
        damaged[end] ^= 1;
        refused(&[(pictures, damaged)], "damaged");

        let plain = "t10k-images-idx3-ubyte";
        let mut axes = idx(&[1; 200], &[0; 100]);
        refused(&[(plain, axes.clone())], "200 axes");
        axes.truncate(20);
        refused(&[(plain, axes)], "200 axes");
        refused(&[(plain, idx(&[1, 1], &[0]))], "expected pictures [N,H,W]");
        refused(&[(plain, idx(&[1, 0, 5], &[]))], "no pixels or too many");
        refused(&[(plain, vec![0, 0, 8])], "header cannot be read");
    }

    #[test]
    fn labels_beside_pictures_are_counted_before_they_are_read() {
        let [pictures, labels] = ["train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"];
        let x = gzipped(&idx(&[2, 1, 1], &[1, 2]));
        let bomb = gzipped(&idx(&[30_000_000], &vec![0; 30_000_000]));
        let says = "30000000 labels, but train-images-idx3-ubyte.gz has 2 pictures";
        refused(&[(pictures, x.clone()), (labels, bomb)], says);
        let bomb = gzipped(&[idx(&[2], &[]), vec![0; 30_000_000]].concat());
        refused(
            &[(pictures, x), (labels, bomb)],
            "does not unpack to the 2 bytes",
        );
    }

    #[test]
    fn a_batch_that_is_mostly_a_hole_is_not_gone_through() {
        let folder = folder(&[]);
        let file = File::create(folder.path().join("test_batch.bin")).unwrap();
        file.set_len(3073 * (1 << 30)).unwrap();
        refused_in(folder.path(), "test_batch.bin", "divide it into several");
    }
}

mod tars {
    use tar::{Builder, EntryType, Header};

    use super::*;

    /// Builds an archive of these entries: name, type, content and claimed length.
    fn tar(entries: &[(&str, EntryType, &[u8], u64)]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (name, kind, content, length) in entries {
            let mut header = Header::new_gnu();
            header.set_path(name).unwrap();
            header.set_entry_type(*kind);
            header.set_size(*length);
            if let (EntryType::GNUSparse, Some(sparse)) = (kind, header.as_gnu_mut()) {
                sparse.realsize.fill(b'0');
            }
            header.set_cksum();
            bytes.extend(header.as_bytes());
            bytes.extend(*content);
            bytes.resize(bytes.len().next_multiple_of(512), 0);
        }
        bytes
    }

    fn of(bytes: Vec<u8>) -> [(&'static str, Vec<u8>); 1] {
        [("a.tar", bytes)]
    }

    #[test]
    fn entries_that_lie_are_refused() {
        const FILE: EntryType = EntryType::Regular;
        let one = |name, length| tar(&[(name, FILE, b"1", length)]);
        refused(&of(one("a.png", 1000)), "it is truncated");
        refused(&of(one("a.cls", 1000)), "it is truncated");
        refused(&of(one("a.png", 1 << 60)), "it is truncated");
        refused(&of(one("a.png", u64::MAX - 5)), "tar archive");
        refused(&of(tar(&[("a.cls", FILE, &[b' '; 65], 65)])), "not a class");
        refused(&of(tar(&[("a.cls", FILE, &[0xFF; 3], 3)])), "not a class");
        let twice = tar(&[("a.cls", FILE, b"1", 1), ("a.cls", FILE, b"2", 1)]);
        refused(&of(twice), "is there twice");
        let sparse = tar(&[("a.png", EntryType::GNUSparse, b"", 0)]);
        refused(&of(sparse), "sparse");
        refused(&of(tar(&[])), "holds no pictures");
    }

    #[test]
    fn long_names_are_not_read_into_memory() {
        for kind in [
            EntryType::GNULongName,
            EntryType::GNULongLink,
            EntryType::XHeader,
        ] {
            let folder = folder(&of(tar(&[("name", kind, b"", 6 << 30)])));
            let file = File::options()
                .write(true)
                .open(folder.path().join("a.tar"));
            file.unwrap().set_len((6 << 30) + 2048).unwrap();
            refused_in(folder.path(), "a.tar", "headers of an entry take more than");
        }
        let mut builder = Builder::new(Vec::new());
        for name in ["n".repeat(5000) + ".png", "n".repeat(50) + ".png"] {
            let mut header = Header::new_gnu();
            header.set_size(1);
            builder.append_data(&mut header, name, &b"1"[..]).unwrap();
        }
        refused(&of(builder.into_inner().unwrap()), "has 5004 bytes");
    }

    #[test]
    fn pictures_are_not_read_when_an_archive_is_opened() {
        let folder = folder(&[]);
        let mut bytes = Vec::new();
        let path = folder.path().join("a.tar");
        let mut file = File::create(&path).unwrap();
        for at in 0..300_u64 {
            let length: u64 = 200 << 20;
            bytes.clear();
            bytes.extend(tar(&[(
                &format!("{at}.png"),
                EntryType::Regular,
                b"",
                length,
            )]));
            std::io::Seek::seek(&mut file, std::io::SeekFrom::Start(at * (512 + length))).unwrap();
            std::io::Write::write_all(&mut file, &bytes).unwrap();
        }
        // A sparse file of 60 GB.
        file.set_len(300 * (512 + (200 << 20))).unwrap();
        assert_eq!(open(&folder, "a.tar").unwrap().len(), 300);
    }
}

#[cfg(unix)]
#[test]
fn pipes_and_devices_are_refused_without_waiting() {
    use std::os::unix::fs::symlink;
    use std::process::Command;

    let folder = folder(&[
        ("mnist/t10k-images-idx3-ubyte", idx(&[1, 1, 1], &[1])),
        ("bin/test_batch.bin", vec![0; 3073]),
    ]);
    let pipe = |name: &str| {
        let made = Command::new("mkfifo")
            .arg(folder.path().join(name))
            .status();
        assert!(made.unwrap().success());
    };
    for name in [
        "train-images-idx3-ubyte",
        "train-images-idx3-ubyte.gz",
        "x.npy",
        "set.npz",
        "a.tar",
        "test_batch",
        "test_batch.bin",
    ] {
        pipe(name);
        refused_in(folder.path(), name, "a pipe, a device or a socket");
    }
    for name in ["data_batch_1", "data_batch_1.bin", "y.npy"] {
        symlink("/dev/zero", folder.path().join(name)).unwrap();
        refused_in(folder.path(), name, "a pipe, a device or a socket");
    }
    pipe("mnist/t10k-labels-idx1-ubyte");
    refused_in(
        folder.path(),
        "mnist/t10k-images-idx3-ubyte",
        "a pipe, a device or a socket",
    );
    pipe("bin/batches.meta.txt");
    let data = open(&folder, "bin/test_batch.bin").unwrap();
    assert_eq!(data.class_names(), None);
}
